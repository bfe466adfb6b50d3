"""Real builds, again and elsewhere: a careless script is caught, and cheap recipes give the same bytes.

`ci/rebuild-elsewhere` does the same for the recipes that take longer.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pibuild.build.artifact import build_artifact
from pibuild.build.catalogue import load_catalogue
from pibuild.build.differences import first_difference
from pibuild.build.keys import artifact_key
from pibuild.build.rebuild import rebuild_artifact
from pibuild.config.project_files import folder_digest
from pibuild.console import Console
from pibuild.model import Artifact, Plan
from tests.integration.elsewhere import context_elsewhere, other_order
from tests.integration.one_build import base_image
from tests.makers.plans import make_recipe, make_release, make_target, plan_for

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("base")


@pytest.fixture
def planned(script):
    """Make a plan of one artifact, whose script is this."""

    def planned(text: str) -> Plan:
        path = script(text)
        release = make_release(sources=(), files=(path,), digest=folder_digest(path))
        image, env = base_image(), (("SOURCE_DATE_EPOCH", "1577836800"),)
        recipe = make_recipe("small", folder=path.parent)
        artifact = Artifact(
            key=artifact_key(release, image, env, ()),
            recipe=recipe,
            release=release,
            target=None,
            python=None,
            image=image,
            env=env,
            needs=(),
        )
        plain = {"version": "1.0", "python": "3.11", "key": artifact.key, "reason": "a test", "proof_digest": ""}
        return Plan(target=make_target(), wheel=artifact, artifacts=(artifact,), device=image, **plain)

    return planned


@pytest.mark.parametrize(
    "content",
    ["$(date +%s%N)", "$(cat /proc/sys/kernel/random/uuid)", "$(mktemp -d)", "$HOSTNAME", "$$.$RANDOM$RANDOM"],
    ids=["the time", "a random number", "a path", "the machine's name", "a process"],
)
def test_a_script_that_stores_what_changes_is_caught_and_the_file_named(context, planned, content):
    plan = planned(f'mkdir -p out/etc && cd out && echo same > etc/a && echo "made by {content}" > etc/banner')
    result = rebuild_artifact(plan.wheel, plan, context)

    assert result.difference.files == ("etc/banner",)
    assert result.difference.field == "content"
    assert result.difference.offset >= len("made by ")


@pytest.mark.parametrize(
    ("archive", "member"),
    [("tar -cf out/thing.tar a", "a"), ("gzip -c a > out/thing.tar", "unpacked")],
    ids=["tar", "gzip"],
)
def test_an_archive_with_the_time_of_its_files_is_caught_and_the_member_named(context, planned, archive, member):
    plan = planned(f"mkdir -p out && echo same > a && {archive} && sleep 1")
    result = rebuild_artifact(plan.wheel, plan, context)

    assert result.difference.files == ("thing.tar", member)
    assert result.difference.field == "mtime"


def test_a_careful_script_gives_the_same_bytes(context, planned):
    plan = planned("mkdir -p out && echo same > out/a && date -u -d @0 > out/b && tar --mtime=@0 -cf out/c.tar out/a")
    assert rebuild_artifact(plan.wheel, plan, context).difference is None


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, base):  # noqa: ARG001  its image is needed
    """Another store, user, clock and order of files."""
    image = load_catalogue().images["pi-one"]["builder"]
    context = context_elsewhere(tmp_path_factory.mktemp("elsewhere"), image, Console())
    yield context
    context.store.close()


@pytest.mark.parametrize(
    ("text", "is_equal"),
    [
        ("date -u -d @$SOURCE_DATE_EPOCH > out/a", True),
        ("date +%Y > out/a", False),
        ("touch 1 2 3; ls 1 2 3 > out/a", True),
        ("mkdir d; touch d/{10..40}; ls -U d > out/a", False),
        ("id -u > out/a", False),
        ("echo $PIBUILD_JOBS > out/a", False),
    ],
    ids=["a given time", "the year", "a sorted list", "an unsorted list", "the user", "the number of jobs"],
)
def test_a_script_that_depends_on_the_machine_is_caught_elsewhere(context, elsewhere, planned, text, is_equal):
    artifact = planned(f"{text}").wheel
    here, there = (build_artifact(artifact, {}, place) for place in (context, elsewhere))

    assert (first_difference(here.path, there.path) is None) == is_equal


def test_the_order_elsewhere_is_another_one_and_keeps_needs_first():
    artifacts = plan_for().artifacts
    order = [*other_order(artifacts)]
    places = {artifact.key: place for place, artifact in enumerate(order)}

    assert order != [*artifacts]
    assert sorted(places) == sorted(artifact.key for artifact in artifacts)
    assert all(places[need.key] < places[artifact.key] for artifact in artifacts for need in artifact.needs)


@pytest.fixture
def public_folder():
    """Make a folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="pibuild-elsewhere-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_cheap_recipes_have_the_same_bytes_elsewhere(public_folder):
    """In a process of its own, which has another user, folder, HOME, time zone and umask."""
    recipes = ("openblas-numpy", "python-packages")
    words = [word for recipe in recipes for word in ("--recipe", recipe)]
    report_path = public_folder / "report.md"
    command = [sys.executable, "-m", "tests.integration.elsewhere", "--elsewhere", str(public_folder / "elsewhere")]
    command += [*words, "--target", "pi-one", "--report", str(report_path)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = report_path.read_text().splitlines()[2:]
    assert {row.split()[1] for row in rows} == {*recipes}
    assert all("| equal |" in row for row in rows)
