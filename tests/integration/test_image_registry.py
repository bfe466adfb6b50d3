"""Images that machines share by a registry: a real one, real engines, and attempts to slip another image in."""

import base64
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import tarfile
import uuid
from dataclasses import replace

import pytest
from docker.models.images import ImageCollection

from pibuild.adapters.docker import Engine
from pibuild.build.catalogue import load_catalogue
from pibuild.build.context import open_context
from pibuild.build.image_registry import DIGEST_LABEL, LOCKED_LABEL, MACHINES_LABEL, PACKAGES_LABEL, tar_of
from pibuild.build.images import ensure_image
from pibuild.commands.main import main
from pibuild.config.project_files import project_folder
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.errors import ImageError
from pibuild.model import Image
from pibuild.signing.key_files import machine_key, public_text
from pibuild.store.transfers import UNNAMED_IMAGES
from tests.fakes.servers import free_port
from tests.integration.one_build import base_image
from tests.integration.registries import LOGIN, engine_lack, registry_program, running_registry, second_engine
from tests.requirements import needs, reason

pytestmark = [needs("apt-get", "dpkg-deb"), pytest.mark.usefixtures("engine")]
TINY = f"debian bullseye amd64 tiny 1.0 {'1' * 64}\n"
INSTALLED = "/opt/pibuild/packages/installed"
DOCKERFILE = f"ARG BASE\nFROM ${{BASE}}\nCOPY installed {INSTALLED}/tiny\nCOPY content /\n"


class Images:
    """A small image on a base without packages, which no other test has."""

    def __init__(self, folder):
        self.mark, self.folder = uuid.uuid4().hex[:12], folder
        self.name = f"pibuild/test-{self.mark}:0123456789abcdef"
        self.base_name = f"pibuild/test-{self.mark}-base:0123456789abcdef"
        for name, files in {
            "base": {},
            "tiny": {
                "Dockerfile": DOCKERFILE,
                "installed": TINY,
                "packages.lock": TINY,
                "content": self.mark,
            },
        }.items():
            (folder / name).mkdir(parents=True)
            for file, text in files.items():
                (folder / name / file).write_text(text)

    @property
    def image(self):
        base = Image(
            name="base",
            reference=self.base_name,
            locked=self.base_name,
            folder=self.folder / "base",
            args=(),
            parents=(),
        )
        return Image(
            name="tiny", reference=self.name, locked=self.name, folder=self.folder / "tiny", args=(), parents=(base,)
        )


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    try:
        return registry_program(tmp_path_factory.mktemp("program"))
    except subprocess.CalledProcessError:
        pytest.skip(reason("docker-registry not found", "apt-get install docker-registry"))


@pytest.fixture(params=[None])
def registry(request, program, tmp_path):
    with running_registry(program, tmp_path / "registry", login=request.param) as running:
        yield running


class Machines:
    """Machines by name, each with a store and a key of its own, that share a registry."""

    def __init__(self, folder, address):
        self.folder, self.address = folder, address

    def key(self, name):
        return public_text(machine_key(self.folder / name / "machine.pem").public_key())

    def run(self, name, do, *, trust=None, push=False, address=None, environ=None, **settings):
        """Return what `do` returns in a machine's context, and what was printed."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        self.key(name)
        store = {"folder": str(folder / "store"), "key": str(folder / "machine.pem"), "trust": trust}
        images = {"registry": address or self.address, "push": push}
        (folder / "pibuild.yaml").write_text(json.dumps({"store": store, "images": images}))
        printed = io.StringIO()
        loaded = load_settings({"config": str(folder / "pibuild.yaml")} | settings, {}, folder)
        with open_context(loaded, dict(os.environ) | (environ or {}), Console(err=printed)) as context:
            return do(context), printed.getvalue()


@pytest.fixture
def machines(tmp_path, registry):
    return Machines(tmp_path, registry.address)


@pytest.fixture
def images(tmp_path, engine):
    """The small image, which no engine has; its base is on the first machine only."""
    made = Images(tmp_path / "images")
    tarfile.open(tmp_path / "empty.tar", "w").close()
    engine.import_root(tmp_path / "empty.tar", made.base_name, {})
    yield made
    for reference in engine.images(f"pibuild/test-{made.mark}"):
        engine.remove_image(reference)


def make_and_share(image):
    def do(context):
        made = ensure_image(image, context)
        context.image_registry.push(image)
        return made

    return do


def make(image):
    return lambda context: ensure_image(image, context)


@pytest.fixture
def shared(machines, images, engine):
    """The small image, which machine a has made and uploaded; then it and its base were removed from the engine."""
    made, printed = machines.run("a", make_and_share(images.image), trust=[], push=True)
    assert "warning" not in printed
    for reference in engine.images(f"pibuild/test-{images.mark}"):
        engine.remove_image(reference)
    images.made = made
    return images


def test_what_one_machine_made_another_downloads_with_its_digest(machines, shared, engine, registry):
    present, printed = machines.run("b", make(shared.image), trust=[machines.key("a")])

    assert "pulling the image" in printed
    assert "making the image" not in printed
    assert present.digest.startswith("sha256:")
    assert present.machines == (machines.key("a"),)
    assert (present.reference, present.packages, present.origin) == (
        shared.made.reference,
        shared.made.packages,
        shared.made.origin,
    )
    assert engine.image_text(shared.name, "/content") == shared.mark
    assert registry.tags(f"test-{shared.mark}") == ["0123456789abcdef", "0123456789abcdef.attestation"]
    assert present.facts()["digest"] == present.digest


def test_a_downloaded_image_is_neither_downloaded_nor_uploaded_again(machines, shared):
    trust = [machines.key("a")]
    first, _ = machines.run("b", make(shared.image), trust=trust)
    again, printed = machines.run("b", make_and_share(shared.image), trust=trust, push=True)

    assert again == first
    assert "image" not in printed


def test_a_machine_that_made_an_image_itself_needs_nobody_to_trust(machines, shared):
    present, printed = machines.run("a", make(shared.image), trust=[])

    assert "pulling the image" in printed
    assert present.machines == ()


def test_an_image_of_a_machine_that_is_not_listed_is_made_here(machines, shared, engine):
    restore_base(shared, engine)
    present, printed = machines.run("b", make(shared.image), trust=[])

    assert machines.key("a") in printed
    assert "making the image" in printed
    assert present.digest == ""


def test_without_a_list_all_are_taken_with_a_warning_and_who_made_them_is_known(machines, shared):
    present, printed = machines.run("b", make(shared.image), trust=None)

    assert "`store: trust:` is not set" in printed
    assert present.machines == (machines.key("a"),)


def test_an_image_of_a_machine_that_leaves_the_list_is_made_anew(machines, shared, engine):
    machines.run("b", make(shared.image), trust=[machines.key("a")])
    restore_base(shared, engine)
    present, printed = machines.run("b", make(shared.image), trust=[])

    assert "making the image" in printed
    assert (present.digest, present.machines) == ("", ())


def restore_base(images, engine):
    engine.import_root(images.folder.parent / "empty.tar", images.base_name, {})


def push_by_hand(images, registry, engine, labels, content="evil"):
    """Put an image with these labels under the name of the small one, as whoever may write to the registry can."""
    (images.folder / "tiny" / "content").write_text(content)
    name = f"{registry.address}/test-{images.mark}:0123456789abcdef"
    restore_base(images, engine)
    words = [word for label, value in labels.items() for word in ("--label", f"{label}={value}")]
    build = ["docker", "build", "--quiet", "--build-arg", f"BASE={images.base_name}", "--tag", name, *words]
    for command in (
        [*build, str(images.folder / "tiny")],
        ["docker", "push", "--quiet", name],
        ["docker", "rmi", name],
    ):
        subprocess.run(command, check=True, capture_output=True)
    (images.folder / "tiny" / "content").write_text(images.mark)


def test_another_image_under_the_name_is_not_looked_at(machines, shared, engine, registry):
    labels = {LOCKED_LABEL: shared.name, PACKAGES_LABEL: TINY.strip()}
    push_by_hand(shared, registry, engine, labels)
    machines.run("b", make(shared.image), trust=[machines.key("a")])

    assert engine.image_text(shared.name, "/content") == shared.mark


def test_an_image_without_an_attestation_is_made_here(machines, images, engine, registry):
    push_by_hand(images, registry, engine, {LOCKED_LABEL: images.name, PACKAGES_LABEL: TINY.strip()})
    present, printed = machines.run("b", make(images.image), trust=None)

    assert "making the image" in printed
    assert present.digest == ""
    assert engine.image_text(images.name, "/content") == images.mark


def test_the_attestation_of_another_image_is_refused(machines, shared, engine, registry, tmp_path):
    other = Images(tmp_path / "other")
    other.base_name = shared.base_name
    restore_base(shared, engine)
    machines.run("a", make_and_share(other.image), trust=[], push=True)
    name = f"test-{shared.mark}"
    registry.copy(f"test-{other.mark}", "0123456789abcdef.attestation", name)
    _, printed = machines.run("b", make(shared.image), trust=[machines.key("a")])
    engine.remove_image(other.name)

    assert "its attestation is not valid: it is about the image" in printed
    assert "making the image" in printed


def test_a_signed_image_that_the_registry_has_lost_is_made_here(machines, shared, engine, registry):
    restore_base(shared, engine)
    registry.drop(f"test-{shared.mark}", "0123456789abcdef")
    present, printed = machines.run("b", make(shared.image), trust=[machines.key("a")])

    assert "no image with the signed digest" in printed
    assert present.digest == ""


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        (TINY.replace("1.0", "2.0"), "its locks do not list"),
        (TINY.replace("1" * 64, "2" * 64), "its locks do not list"),
        (TINY + TINY.replace("tiny", "more"), "not as its lock says"),
    ],
)
def test_an_image_of_other_packages_than_the_lock_is_refused(machines, shared, engine, lock, fault):
    (shared.folder / "tiny" / "packages.lock").write_text(lock)
    (shared.folder / "tiny" / "installed").write_text(lock)
    restore_base(shared, engine)
    present, printed = machines.run("b", make(shared.image), trust=[machines.key("a")])

    assert fault in printed
    assert present.digest == ""


def test_an_image_that_runs_commands_on_other_machines_is_refused(machines, images, engine):
    def share_with_trigger(context):
        ensure_image(images.image, context)
        dockerfile = f"FROM {images.name}\nONBUILD RUN true\n".encode()
        engine.build_image(images.name, tar_of({"Dockerfile": dockerfile}), {}, {}, lambda _: None)
        context.image_registry.push(images.image)

    machines.run("a", share_with_trigger, trust=[], push=True)
    engine.remove_image(images.name)
    _, printed = machines.run("b", make(images.image), trust=[machines.key("a")])

    assert "ONBUILD" in printed
    assert "making the image" in printed


def test_an_image_that_is_not_as_locked_is_not_uploaded(machines, images, registry):
    (images.folder / "tiny" / "installed").write_text(TINY.replace("1.0", "2.0"))
    machines.run("a", make_and_share(images.image), trust=[], push=True)

    assert registry.tags(f"test-{images.mark}") == []


def test_a_registry_that_does_not_answer_gives_one_warning(machines, images):
    gone = f"127.0.0.1:{free_port()}/some/path"

    def twice(context):
        make_and_share(images.image)(context)
        context.engine.remove_image(images.name)
        return make_and_share(images.image)(context)

    present, printed = machines.run("a", twice, trust=[], push=True, address=gone)

    assert present.digest == ""
    assert printed.count("warning") == 1
    assert "the registry of images is not asked again" in printed


def test_a_registry_without_room_gives_one_warning_and_gets_the_image_later(
    machines, images, engine, program, small_disk
):
    with running_registry(program, small_disk) as registry:
        (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
        present, full = machines.run("a", make_and_share(images.image), trust=[], push=True, address=registry.address)
        (small_disk / "filler").unlink()
        _, later = machines.run("a", make_and_share(images.image), trust=[], push=True, address=registry.address)
        engine.remove_image(images.name)
        pulled, _ = machines.run("b", make(images.image), trust=[machines.key("a")], address=registry.address)

    assert present.digest == ""
    assert full.count("warning") == 1
    assert "look at the registry's log, and check whether its disk is full" in full
    assert "warning" not in later
    assert pulled.digest


def test_offline_no_registry_is_asked(machines, shared):
    with pytest.raises(ImageError):
        machines.run("b", make(shared.image), trust=[machines.key("a")], offline=True)


def transfer_and_be_killed(machines, name, image, trust):
    """Make and share an image, or download it, and be killed when the engine's name for the transfer would go."""
    remove = ImageCollection.remove

    def killed(self, reference, **more):
        if reference.startswith("127.0.0.1:"):
            self.get(reference)  # an image has this name
            os.kill(os.getpid(), signal.SIGKILL)
        remove(self, reference, **more)

    pytest.MonkeyPatch().setattr(ImageCollection, "remove", killed)
    machines.run(name, make_and_share(image), trust=trust, push=True)


def engine_names(registry, image):
    """The names under which the engine has what is transferred, by tag and by digest."""
    words = ["docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}"]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    unnamed = f"{UNNAMED_IMAGES}{image.reference.replace('/', '-').replace(':', '-')}"
    return [line for line in lines if line.startswith((registry.host, unnamed))]


@pytest.mark.parametrize("machine", ["a", "b"])
@pytest.mark.parametrize("command", ["clean", "build"])
def test_the_names_of_a_killed_transfer_go_with_the_next_command(machines, shared, engine, registry, machine, command):
    restore_base(shared, engine)
    trust, image = [machines.key("a")], shared.image
    if machine == "a":  # another image is uploaded
        (shared.folder / "tiny" / "content").write_text("another")
        image = replace(image, reference=f"{image.reference[:-4]}beef", locked=f"{image.reference[:-4]}beef")
    spawn = multiprocessing.get_context("spawn")
    killed = spawn.Process(target=transfer_and_be_killed, args=(machines, machine, image, trust))
    killed.start()
    killed.join()
    left = engine_names(registry, image)
    if command == "clean":
        main(["clean", "--config", str(machines.folder / machine / "pibuild.yaml")])
    else:
        machines.run(machine, lambda context: context.engine.check(), trust=trust)

    assert killed.exitcode == -signal.SIGKILL
    assert {name.startswith(UNNAMED_IMAGES) for name in left} == ({False, True} if machine == "b" else {False})
    assert engine_names(registry, image) == []


@pytest.mark.parametrize("registry", [LOGIN], indirect=True)
def test_a_login_is_docker_s_own(machines, images, engine, registry, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    _, refused = machines.run("a", make_and_share(images.image), trust=[], push=True)
    login = ["docker", "login", "--username", LOGIN[0], "--password-stdin", registry.host]
    subprocess.run(login, input=LOGIN[1].encode(), check=True, capture_output=True)
    _, shared = machines.run("a", make_and_share(images.image), trust=[], push=True)
    engine.remove_image(images.name)
    present, pulled = machines.run("b", make(images.image), trust=[machines.key("a")])

    assert refused.count("warning") == 1
    assert "no basic auth credentials" in refused
    assert "sharing the image" in shared
    assert "warning" not in shared + pulled
    assert present.digest


@pytest.mark.skipif(bool(engine_lack()), reason=reason(engine_lack(), "sudo ci/test"))
def test_a_second_engine_gets_the_image_without_its_base(machines, shared, registry):
    with second_engine(registry) as host:
        present, printed = machines.run(
            "b", make(shared.image), trust=[machines.key("a")], environ={"DOCKER_HOST": host}
        )
        engine = Engine({"DOCKER_HOST": host})

        assert "making the image" not in printed
        assert engine.images("pibuild/") == [shared.name]
        assert engine.image_labels(shared.name)[DIGEST_LABEL] == present.digest
        assert engine.image_labels(shared.name)[MACHINES_LABEL] == machines.key("a")


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys):
    """What `pibuild doctor` finds out about a registry; nothing else is asked of any network."""
    dead = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, dead)
    monkeypatch.setattr("pibuild.adapters.http.time.sleep", lambda _wait_s: None)

    def finding(address, **more):
        images = {"registry": address} | more
        config = tmp_path / "doctor.yaml"
        store = {"folder": str(tmp_path / "doctor"), "key": str(tmp_path / "doctor.pem")}
        config.write_text(json.dumps({"images": images, "mirrors": ["/srv"], "store": store}))
        main(["doctor", "--json", "--config", str(config)])
        findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
        assert "ed25519:" in findings["this machine's key"]["found"]
        assert not findings["registry of images"]["required"]
        return findings["registry of images"]

    return finding


def test_doctor_says_that_a_registry_answers_and_has_no_image_yet(doctor, registry):
    found = doctor(registry.address, push=True)

    assert found["ok"]
    assert registry.address in found["found"]
    assert "it has no toolchain of this version yet" in found["found"]


def test_doctor_names_the_targets_whose_toolchain_a_registry_has(doctor, engine, registry):
    toolchain = load_catalogue().images["pi-two"]["toolchain"].locked.removeprefix("pibuild/")
    engine.push(base_image().reference, f"{registry.address}/{toolchain}.attestation")
    found = doctor(registry.address)

    assert found["ok"]
    assert "pi-two" in found["found"]
    assert "pi-one" not in found["found"]


def test_doctor_says_what_to_do_about_a_registry_that_does_not_answer(doctor):
    gone = f"127.0.0.1:{free_port()}"
    found = doctor(f"{gone}/path")

    assert not found["ok"]
    assert "connection refused" in found["found"]
    assert "images: registry:" in found["remedy"]


@pytest.mark.parametrize("registry", [LOGIN], indirect=True)
@pytest.mark.parametrize("password", ["", "wrong", LOGIN[1]])
def test_doctor_says_whether_the_login_at_a_registry_is_accepted(doctor, registry, monkeypatch, tmp_path, password):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    login = base64.b64encode(f"{LOGIN[0]}:{password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": login}} if password else {}}))
    found = doctor(registry.address)

    assert found["ok"] == (password == LOGIN[1])
    if not found["ok"]:
        assert f"docker login {registry.host}" in found["remedy"]


class NoBootstrap:
    """What makes a base on a machine without mmdebstrap."""

    def root_tar(self, *_words, **_more):
        raise ImageError("mmdebstrap is missing")


@pytest.fixture
def base_in_registry(tmp_path, engine, registry):
    """A folder for the image of a base, and the digest under which the registry has one."""
    folder = tmp_path / "dockerfiles" / "base"
    shutil.copytree(project_folder("dockerfiles") / "base", folder)
    name = f"{registry.host}/debian"
    plain = f"pibuild/test-base-{uuid.uuid4().hex[:12]}:plain"  # as a distribution has it, without pibuild's own files
    dockerfile = tar_of({"Dockerfile": f"FROM {base_image().reference}\nRUN rm -r /opt/pibuild\n".encode()})
    engine.build_image(plain, dockerfile, {}, {}, lambda _: None)
    digest = engine.push(plain, f"{name}:11")
    engine.remove_image(plain)

    def pinned(digest):
        base_yaml = (folder / "base.yaml").read_text()
        base_yaml = re.sub("repository: .*", f"repository: {name}", base_yaml)
        (folder / "base.yaml").write_text(re.sub("digest: .*", f"digest: {digest}", base_yaml))
        reference = f"pibuild/test-base-{uuid.uuid4().hex[:12]}:0123456789abcdef"
        return Image(name="base", reference=reference, locked=reference, folder=folder, args=(), parents=())

    return pinned, digest


@pytest.mark.usefixtures("base")
def test_a_base_comes_from_its_registry_by_digest_under_another_name(base_in_registry, context, engine, registry):
    pinned, digest = base_in_registry
    context.bootstrap, image = NoBootstrap(), pinned(digest)
    present = ensure_image(image, context)
    engine.remove_image(present.reference)

    assert present.origin == f"{registry.host}/debian@{digest}"
    assert present.reference.startswith(f"{image.locked}-")
    assert any(" bash " in line for line in present.packages)


@pytest.mark.usefixtures("base")
def test_a_base_of_another_digest_is_not_taken(base_in_registry, context, engine):
    pinned, _ = base_in_registry
    context.bootstrap, image = NoBootstrap(), pinned(f"sha256:{'0' * 64}")
    with pytest.raises(ImageError) as caught:
        ensure_image(image, context)

    assert "mmdebstrap is missing" in caught.value.found
    assert "does not have it" in caught.value.found
    assert engine.images(image.locked) == []
