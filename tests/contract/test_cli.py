"""What a person types leads to an answer, or to a message that says what to type instead."""

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

from pibuild import __version__
from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import Twine
from pibuild.build.catalogue import load_catalogue
from pibuild.commands.main import main
from pibuild.commands.publication import publish_wheels
from pibuild.config.settings import Policy
from pibuild.model import Request
from pibuild.publishing.destinations import Uploader
from pibuild.store.remote_folders import LocalFolder
from pibuild.verify.judge import Verification, judge
from tests.makers.elfs import BX_LR, PI_TWO, SO, arm, make_elf
from tests.makers.publications import make_proven, site_in
from tests.makers.sites import add_wheel, make_site
from tests.makers.stores import Machine
from tests.makers.wheels import TFLITE, make_tflite_wheel, make_wheel


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No variable or file of the machine's own is seen."""
    monkeypatch.chdir(tmp_path)
    for name in ("PIBUILD_TARGET", "PIBUILD_PYTHON", "PIBUILD_RECIPE", "PIBUILD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIBUILD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--target", "pi-onne", "--python", "3.11"], "did you mean 'pi-one'"),
        (["--target", "pi-one", "--python", "3.10"], "3.9, 3.11, 3.12, 3.13, 3.14"),
        (["--target", "pi-one", "--python", "3.11", "--recipe", "tflite-runtme"], "did you mean 'tflite-runtime'"),
        (["--target", "pi-one", "--python", "3.11", "--release", "2.14.2"], "did you mean '2.14.1'"),
        (["--targte", "pi-one"], "'--target'"),
        (["plna"], "'plan'"),
        (["yank", "thing"], "pibuild publish yank"),
        (["unyank"], "pibuild publish unyank"),
        (["undelete"], "pibuild publish undelete"),
        (["rollback"], "pibuild publish rollback"),
        (["check", "site"], "pibuild publish check"),
        (["statsu"], "pibuild nightly status"),
        (["nightly", "yank"], "pibuild publish yank"),
        (["publish", "doctor"], "pibuild doctor"),
        (["--bogus"], "try: pibuild build --help"),
        (["list", "--bogus"], "try: pibuild list --help"),
        (["--targte", "pi-one", "verify", "a.whl"], "pibuild verify has no option '--targte'"),
        (["list", "--reaso"], "--reason is an option of publish yank"),
        (["plan", "-x"], "try: pibuild plan --help"),
        (["--memory", "-1"], "--memory: expected more than 0"),
        (["--jobs", "-2", "--deadline", "-1"], "--deadline: expected more than 0"),
        (["--memory=0"], "--memory: expected more than 0"),
        (["--deadline", "soon"], "--deadline: expected a number"),
        (["--target", "-x", "--python", "3.11"], "pibuild build has no option '-x'"),
        (["verify", __file__, "--floor", "-2"], "'-2' is not a version of glibc"),
        (["--target", "", "--python", "3.11"], "try: --target pi-64 or --target pi-one or --target pi-two\n"),
        (["verify", __file__, "--target", ""], "There is no target ''"),
        (["--target", "pi-one", "--python", "4"], "one of: 2.7, 3.4, 3.5, 3.7, 3.9, 3.11, 3.12, 3.13, 3.14"),
        (["run", __file__, "--raspbian", "http://host/", "--", "true"], "--os"),
        (["retag", __file__, "--platform", "any", "--accept-abi-risk"], "--python"),
        (["thing-1.0-py3-none-any.whl"], "pibuild verify thing-1.0-py3-none-any.whl"),
        (["--python", "3.11"], "target"),
        (["--target", "pi-one"], "python"),
        (["--target"], "--target: expected one argument"),
        (["--jobs", "many"], "'many'"),
        (["verify"], "WHEEL"),
        (["run"], "WHEEL"),
        (["run", __file__], "after --"),
        (["run", __file__, __file__, "--", "true"], "run"),
        (["run", "nowhere.whl", "--", "true"], "nowhere.whl"),
        (["run", __file__, "--", "true"], "test_cli.py"),
        (["verify", __file__, "--", "nowhere.whl"], "nowhere.whl"),
        (["verify", "--", "-nowhere.whl"], "-nowhere.whl"),
        (["verify", "--", "--json"], "There is no file --json"),
        (["plan", "--", "-x"], "-x'"),
        (["run", "--", "a.whl"], "WHEEL"),
        (["--", "verify", "a.whl"], "pibuild build does not take 'verify'"),
        (["list", "--json=1"], "--json: it takes no value"),
        (["nightly", "log", "--", "a", "b"], "'b'"),
        (["-V", "foo"], "'foo'"),
        (["--version", "--bogus"], "'--bogus'"),
        (["verify", __file__, "--raspbian", "http://x"], "an option of run"),
        (["verify", __file__, "--model", "pi-6"], "pi-5"),
        (["verify", __file__, "--bits", "16"], "'16'"),
        (["verify", __file__, "--model", "pi-2-b", "--bits", "64"], "--model pi-2-b --bits 64"),
        (["verify", __file__, "--recipe", "tflite-runtime"], "an option of build, plan, fetch, shell"),
        (["verify", __file__, "--os", "bullsaye"], "bullseye"),
        (["verify", __file__, "--python", "3.12"], "3.13"),
        (["verify", __file__, "--os", "bookworm", "--python", "3.4"], "--os"),
        (["verify", __file__, "--platform", "linux_armv6l"], "an option of retag"),
        (["verify", __file__, "--reason", "why"], "an option of publish yank"),
        (["list", "--jobs", "2"], "an option of build, fetch, verify, run, nightly run"),
        (["verify", __file__, "--run-command", "1"], "--run"),
        (["--target", "pi-one", "--all"], "an option of list, clean"),
        (["publish", "--only", "cell"], "an option of nightly run"),
        (["publish", "--format", "json"], "an option of nightly matrix"),
        (["publish", "rolback"], "'rollback'"),
        (["publish", "yank", "thing"], "--reason"),
        (["publish", "yank", "thing", "--reason", "why"], "site"),
        (["publish", "unyank", "a", "--reason", "why"], "an option of publish yank"),
        (["publish", "rollback", "--public-key", "key.pem"], "an option of publish check"),
        (["publish", "rollback"], "set"),
        (["publish", "--check", "site"], "pibuild publish check"),
        (["publish", "--rollback"], "pibuild publish rollback"),
        (["publish", "--yank", "thing", "--reason", "why"], "pibuild publish yank"),
        (["publish", "--unyank", "thing"], "pibuild publish unyank"),
        (["publish", "--undelete", "thing"], "pibuild publish undelete"),
        (["matrix", "--format", "github"], "pibuild nightly matrix"),
        (["status"], "pibuild nightly status"),
        (["log", "cell"], "pibuild nightly log"),
        (["help", "plna"], "'plan'"),
        (["plan", "build"], "plan and build are two"),
        (["publish", "yank", "thing", "--reason", "why", "rollback"], "yank and rollback are two"),
        (["nightly", "matrix", "status"], "matrix and status are two"),
        (["nightly", "log"], "CELL"),
        (["nightly", "log", "a", "b"], "'b'"),
        (["nightly", "run", "list"], "run and list are two"),
        (["publish", "matrix"], "pibuild nightly matrix"),
        (["hlep"], "'help'"),
        (["nightly", "status", "a"], "'a'"),
        (["nightly"], "nightly"),
        (["nightly", "matrix"], "nightly"),
        (["publish"], "nightly"),
        (["completion", "tcsh"], "pibuild completion does not take 'tcsh'"),
        (["verify", "nowhere.whl"], "nowhere.whl"),
        (["verify", "a" * 300], "File name too long"),
        (["run", "a" * 300, "--", "true"], "File name too long"),
        (["list", "-c", "a" * 300], "File name too long"),
        (["list", "-c", "nowhere.yaml"], "nowhere.yaml"),
        (["plan", "a.whl"], "'a.whl'"),
        (["retag", __file__, "--python", "three"], "'three'"),
        (["retag", __file__, "--platform", "linux-armv6l"], "'linux-armv6l'"),
        (["retag", __file__], "--platform"),
        (["verify", __file__, "--floor", "new"], "'new'"),
    ],
)
def test_an_unknown_name_is_code_2_and_lists_what_exists(capsys, words, answer):
    assert main(words) == 2
    assert answer in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--python", "4", "--release", "9"], ["--target pi-one", "Python '4'", "'9'"]),
        (["plan", "--target", "pi-onne"], ["'pi-onne'", "No Python is set"]),
        (["shell", "--recipe", "tflite", "--with", "x,y"], ["No target", "No Python", "'tflite'"]),
        (["--source", "nowhere", "--python", "4"], ["nowhere"]),
        (["verify", "a.whl", "--os", "9", "--python", "4", "--target", "x"], ["--os 9", "--python 4", "'x'"]),
        (["verify", "a.whl", "--jobs", "2", "--target", "x"], ["--jobs", "'x'"]),
    ],
)
def test_everything_that_is_wrong_is_reported_at_once(capsys, words, names):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert [name for name in names if name not in err] == []


@pytest.mark.parametrize(
    "option", ["--jobs=1", "--memory=1", "--deadline=1", "--store=dir", "--mirrors=/a", "--run-command=1"]
)
def test_an_option_that_only_verify_run_obeys_is_rejected_without_run(capsys, tmp_path, option):
    assert main(["verify", str(make_wheel(tmp_path / "in")), option]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{option.partition('=')[0]}: no effect without --run" in printed.err


def test_settings_that_only_verify_run_obeys_may_be_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("PIBUILD_JOBS", "2")
    assert main(["verify", str(make_wheel(tmp_path / "in")), "--offline"]) == 0


def test_the_places_to_verify_may_be_variables(capsys, monkeypatch, tmp_path):
    path = make_wheel(tmp_path / "in")
    monkeypatch.setenv("PIBUILD_PYTHON", "3.4")
    assert main(["verify", str(path), "--json"]) == 9
    (wheel,) = json.loads(capsys.readouterr().out)["wheels"]
    assert {verdict["python"] for verdict in wheel["verdicts"] if verdict["asked"]} == {"3.4"}
    assert main(["verify", str(path), "--python", "3.11"]) == 0


@pytest.mark.parametrize("words", [["foo"], ["--bogus"], ["list", "--os"], ["verify"], ["-V", "foo"], ["schema", "x"]])
@pytest.mark.parametrize("variable", ["1", "True", "yes", ""])
def test_an_error_in_the_grammar_is_json_if_the_option_or_the_variable_asks(capsys, monkeypatch, words, variable):
    monkeypatch.setenv("PIBUILD_JSON", variable or "0")
    assert main([*words, *([] if variable else ["--json"])]) == 2
    printed = capsys.readouterr()
    assert (json.loads(printed.err.splitlines()[-1])["error"]["type"], printed.out) == ("UsageError", "")


def test_verify_as_json_prints_the_wheels_that_it_read_or_nothing(capsys, tmp_path):
    """A program reads one document from stdout if any wheel was read; what failed is the last line of stderr."""
    fine = make_wheel(tmp_path / "in")
    assert main(["verify", "nowhere.whl", "--json"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, json.loads(printed.err)["error"]["exit_code"]) == ("", 2)
    assert main(["verify", "nowhere.whl", str(fine), "--json"]) == 2
    printed = capsys.readouterr()
    assert [wheel["file"] for wheel in json.loads(printed.out)["wheels"]] == [fine.name]
    assert "nowhere.whl" in json.loads(printed.err)["error"]["what"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["verify", "--target", "pi-onne", __file__], "There is no target 'pi-onne'"),
        (["verify", "--floor", "new", __file__, "--json"], "'new' is not a version of glibc"),
        (["verify", __file__, "--floor", "new", __file__], "'new' is not a version of glibc"),
        (["--json", "retag", "--python", "three", __file__], "'three' is not a version of Python"),
        (["--json", "retag", "--python", "cp313t", __file__], "cp313t is a free-threaded Python"),
        (["--json", "verify", "--python", "3.14t", __file__], "3.14t is a free-threaded Python"),
        (["--json", "plan", "--target", "pi-one", "--python", "3.13t"], "3.13t is a free-threaded Python"),
        (["nightly", "--json", "log", "thing"], "`nightly:`"),
        (
            ["run", "--os", "bookwrm", "thing-1.0-py3-none-any.whl", "--", "python", "--os", "-c"],
            "did you mean 'bookworm'",
        ),
        (["verify", "--targte", "pi-one", __file__], "did you mean '--target'"),
        (["verify", "--targte=pi-one", __file__], "did you mean '--target'"),
        (["plan", "--target", "pi-one", "a.whl"], "'a.whl'"),
    ],
)
def test_options_stand_before_between_and_after_the_words(capsys, tmp_path, words, answer):
    (tmp_path / "thing-1.0-py3-none-any.whl").touch()
    assert main(words) == 2
    assert answer in capsys.readouterr().err


@pytest.fixture
def private(tmp_path, monkeypatch):
    """A folder that we may not look into; root is nobody meanwhile, for modes don't keep it out."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0)
    monkeypatch.chdir("/")
    mine = os.geteuid()
    os.seteuid(mine or 65534)
    yield folder
    os.seteuid(mine)
    folder.chmod(0o700)


@pytest.mark.parametrize(
    "words", [["verify", "{}"], ["retag", "--python", "3.9", "{}"], ["run", "{}", "--", "true"], ["list", "-c", "{}"]]
)
def test_a_folder_without_read_permission_is_named(capsys, private, words):
    assert main([word.format(private / "thing-1.0-py3-none-any.whl") for word in words]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_a_removed_current_folder_is_named(capsys, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["list"]) == 2
    assert "The current folder is gone" in capsys.readouterr().err


def ended(*words, **how):
    """Run a program of its own."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    how["env"] = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | how.get("env", {})
    return subprocess.run([sys.executable, "-m", "pibuild", *words], check=False, **how)


@pytest.fixture
def unread():
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_file_names_are_printed_in_any_encoding(tmp_path):
    path = make_wheel(tmp_path / "in", file_name=os.fsdecode(b"thing\xff-1.0-cp311-cp311-linux_armv6l.whl"))
    for encoding in ("latin-1", "ascii", "utf-8"):
        told = ended("verify", str(path), env={"PYTHONIOENCODING": encoding})
        assert (told.returncode, told.stderr) == (9, b"")
        assert told.stdout.startswith(b"thing\\udcff-1.0")
        assert b"\\u" not in told.stdout.replace(b"\\udcff", b"")
        if encoding == "ascii":
            assert "✗".encode() not in told.stdout
            assert b"the file name is invalid" in told.stdout
        as_json = ended("verify", str(path), "--json", env={"PYTHONIOENCODING": encoding})
        assert json.loads(as_json.stdout)["wheels"][0]["file"] == path.name
        missing = ended("verify", f"{path}.whl", "--json", env={"PYTHONIOENCODING": encoding})
        assert path.name in json.loads(missing.stderr)["error"]["what"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["list"], ["--version"]])
def test_a_result_that_cant_be_written_to_a_full_disk_is_code_8(words):
    with Path("/dev/full").open("w") as full:
        told = ended(*words, stdout=full)
    assert told.returncode == 8
    assert told.stderr.decode().splitlines()[0] == "pibuild: The result can't be written to stdout"


@pytest.mark.parametrize(("words", "code"), [(["verify", "{}"], 9), (["list"], 0)])
def test_a_closed_stdout_changes_no_exit_code(tmp_path, unread, words, code):
    bad = tmp_path / "thing-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip file")
    told = ended(*(word.format(bad) for word in words), stdout=unread)
    assert (told.returncode, told.stderr) == (code, b"")


def test_progress_to_a_closed_stderr_is_code_141(unread):
    assert ended("--target", "pi-one", "--python", "3.11", "--offline", stderr=unread).returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("target", "code"), [("pi-x", 2), ("pi-one", 4)])
def test_a_full_disk_behind_stderr_changes_no_exit_code(tmp_path, target, code):
    env = {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock", "PIBUILD_STORE": str(tmp_path / "store")}
    with Path("/dev/full").open("w") as full:
        assert ended("--target", target, "--python", "3.11", stderr=full, env=env).returncode == code


def test_an_error_to_a_closed_stderr_keeps_its_exit_code(unread):
    assert ended("verify", "nowhere.whl", stderr=unread).returncode == 2


def test_no_engine_is_code_4_and_says_what_to_do(capsys):
    assert main(["shell", "--target", "pi-one", "--python", "3.11"]) == 4
    assert "unset" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["verify", "--version"], ["--version", "plan"]])
def test_version_without_a_release_prints_pibuilds_own(capsys, words):
    assert main(words) == 0
    assert capsys.readouterr().out == f"pibuild {__version__}\n"


@pytest.mark.parametrize("words", [["--version", "2.14.2"], ["--version=2.14.2"]])
def test_version_with_a_release_is_release_with_a_warning(capsys, words):
    assert main(["plan", "--target", "pi-one", "--python", "3.11", *words]) == 2
    err = capsys.readouterr().err
    assert "warning" in err
    assert "--release" in err
    assert "2.14.1" in err


def test_help_of_a_command_is_the_same_by_all_three_spellings(capsys):
    for words in (["help", "verify"], ["verify", "--help"], ["-h", "verify"]):
        assert main(words) == 0
        assert "usage: pibuild verify WHEEL" in capsys.readouterr().out
    for words in (["help", "nightly"], ["nightly", "help"], ["nightly", "--help"]):
        assert main(words) == 0
        assert "usage: pibuild nightly [run|" in capsys.readouterr().out


def test_a_wheel_with_true_tags_is_code_0_and_reported_as_json(capsys, tmp_path):
    path = make_wheel(tmp_path / "in")
    assert main(["verify", str(path), "--json", "--target", "pi-one", "--floor", "2.19"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["wheels"]
    (asked,) = [one for one in told["verdicts"] if one["asked"]]
    assert (asked["pi"], asked["release"], asked["python"]) == ("Pi 1, Zero, Zero W", "bookworm", "3.11")
    assert asked["verdict"] == told["answer"] == "runs"


def test_each_wheel_is_reported_before_the_next_is_read(capsys, tmp_path, monkeypatch):
    first, second = make_wheel(tmp_path / "1"), make_wheel(tmp_path / "2")
    said, kept = [], []

    def watched(path, **options):
        said.append(capsys.readouterr().out)
        gc.collect()
        kept.append(sum(isinstance(one, Verification) for one in gc.get_objects()))
        return judge(path, **options)

    monkeypatch.setattr("pibuild.verify.judge.judge", watched)
    assert main(["verify", str(first), str(second)]) == 0
    assert said[0] == ""
    assert said[1].startswith(first.name)
    assert kept[1] == kept[0]


def test_a_file_that_cant_be_read_is_named_after_the_other_reports(capsys, tmp_path, monkeypatch):
    locked, fine = make_wheel(tmp_path / "1"), make_wheel(tmp_path / "2")

    really_open = Path.open

    def refusing(path, mode="r"):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, mode)

    monkeypatch.setattr(Path, "open", refusing)
    assert main(["verify", str(locked), str(fine)]) == 2
    told = capsys.readouterr()
    assert f"{locked} can't be read\n  found:    Permission denied" in told.err
    assert told.out.startswith(fine.name)


@pytest.mark.parametrize("words", [["verify"], ["retag", "--platform", "linux_armv7l", "--output", "out"]])
def test_every_file_that_is_not_a_wheel_is_named_after_the_others_are_done(capsys, tmp_path, words):
    fine, sdist, folder = make_wheel(tmp_path / "in"), tmp_path / "thing-1.0.tar.gz", tmp_path / "wheels"
    sdist.touch()
    folder.mkdir()
    assert main([*words, "nowhere.whl", str(fine), str(sdist), str(folder)]) == 2
    printed = capsys.readouterr()
    assert fine.name.rpartition("-")[0] in printed.out
    for name in ("3 of 4", "nowhere.whl", str(sdist), f"{folder}/*.whl"):
        assert name in printed.err


@pytest.mark.parametrize("words", [[], ["--"]])
def test_pibuild_without_a_word_is_build_and_asks_for_the_target(capsys, words):
    assert main(words) == 2
    assert "--target" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["2>&-", ">&-"])
def test_a_stream_that_the_shell_closed_leaves_the_exit_code_as_it_is(closed):
    command = f"{sys.executable} -m pibuild verify missing.whl {closed}"
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(["bash", "-c", command], env=environ, check=False, capture_output=True).returncode == 2


@pytest.mark.parametrize("home", [None, ""])
def test_a_user_without_a_name_or_a_home_is_asked_for_a_store(capsys, monkeypatch, home):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "PIBUILD_STORE"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert main(["plan", "--target", "pi-one", "--python", "3.11"]) == 2
    assert "--store" in capsys.readouterr().err
    assert main(["list"]) == 0


def test_no_code_of_a_wheel_runs_until_a_python_imports_it(tmp_path, monkeypatch):
    """Also if the wheel is unpacked in the current folder and has modules with names that pibuild imports."""
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').close()\n".encode()
    scripts = {f"thing-1.0.data/scripts/{name}": b"#!python\n" + code for name in ("thing", "objdump", "readelf")}
    modules = dict.fromkeys(("thing/__init__.py", "thing/__main__.py", "setup.py", "sitecustomize.py", "yaml.py"), code)
    path = make_wheel(tmp_path / "in", {SO: make_elf(), "thing.pth": b"import os; " + code} | modules | scripts)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)  # as people do who look into it
    monkeypatch.chdir(tmp_path)

    assert main(["verify", str(path)]) == 0
    ended = subprocess.run(
        [Path(sys.executable).parent / "pibuild", "verify", path], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert not ran.exists()
    subprocess.run([sys.executable, "-c", "import thing"], check=True)
    assert ran.exists()


def test_a_wheel_that_does_not_run_on_the_target_is_code_9(capsys, tmp_path):
    path = make_wheel(tmp_path / "in", {SO: make_elf(arm(0xE3001234, BX_LR), attributes=PI_TWO)})
    assert main(["verify", str(path), "--target", "pi-one", "--json"]) == 9
    (wheel,) = json.loads(capsys.readouterr().out)["wheels"]
    assert {verdict["pi"] for verdict in wheel["verdicts"] if verdict["asked"]} == {"Pi 1, Zero, Zero W"}
    (number,) = {number for verdict in wheel["verdicts"] if verdict["asked"] for number in verdict["reasons"]}
    assert [reason["check"] for reason in wheel["reasons"] if reason["number"] == number] == ["cpu"]


def test_a_wheel_of_which_something_is_unsure_is_code_13(capsys, tmp_path):
    path = make_wheel(tmp_path / "in", {SO: make_elf()[:200]})
    assert main(["verify", str(path), "--target", "pi-one", "--json"]) == 13
    (wheel,) = json.loads(capsys.readouterr().out)["wheels"]
    assert (wheel["answer"], {reason["outcome"] for reason in wheel["reasons"]} - {"fails"}) == ("unsure", {"unsure"})


def test_one_wheel_that_fails_decides_the_exit_code(capsys, tmp_path):
    unsure = make_wheel(tmp_path / "1", {SO: make_elf()[:200]})
    fails = make_wheel(tmp_path / "2", {SO: make_elf(arm(0xE3001234, BX_LR), attributes=PI_TWO)})
    assert main(["verify", str(unsure), str(fails), str(make_wheel(tmp_path / "3"))]) == 9
    capsys.readouterr()


def test_a_retagged_wheel_is_named_on_stdout(capsys, tmp_path):
    path = make_wheel(tmp_path / "in")
    assert main(["retag", str(path), "--platform", "linux_armv7l", "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/thing-1.0-cp311-cp311-linux_armv7l.whl\n"


def test_several_retagged_wheels_are_one_document(capsys, tmp_path):
    first, second = (make_wheel(tmp_path / name) for name in ("1", "2"))
    words = ["--platform", "linux_armv7l", "--output", "out", "--json"]
    made = {"path": "out/thing-1.0-cp311-cp311-linux_armv7l.whl"}
    assert main(["retag", str(first), str(second), *words]) == 0
    assert json.loads(capsys.readouterr().out) == [made, made]
    assert main(["retag", str(first), *words]) == 0
    assert json.loads(capsys.readouterr().out) == [made]


def test_a_wheel_that_cant_be_retagged_does_not_keep_the_next_one_from_it(capsys, tmp_path):
    good, bad = make_wheel(tmp_path / "1"), tmp_path / "bad-1.0-cp311-cp311-linux_armv6l.whl"
    bad.write_bytes(b"no zip file")
    assert main(["retag", str(bad), str(good), "--platform", "linux_armv7l", "--output", "out"]) == 9
    printed = capsys.readouterr()
    assert printed.out == "out/thing-1.0-cp311-cp311-linux_armv7l.whl\n"
    assert bad.name in printed.err


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 8), (errno.EROFS, 10), (errno.EACCES, 10)])
def test_a_full_output_disk_is_code_8_for_retag(capsys, monkeypatch, tmp_path, number, code):
    def write_wheel(*_words):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pibuild.wheels.wheel.write_wheel", write_wheel)
    words = ["retag", str(make_wheel(tmp_path / "in")), "--platform", "linux_armv7l", "--output", str(tmp_path)]
    assert main(words) == code
    assert str(tmp_path) in capsys.readouterr().err


def test_a_claim_that_the_contents_contradict_is_code_9_and_writes_nothing(capsys, tmp_path):
    path = make_wheel(tmp_path / "in")
    assert main(["retag", str(path), "--platform", "any", "--output", str(tmp_path / "out")]) == 9
    assert SO in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_named(capsys, tmp_path):
    path = make_wheel(tmp_path / "in")
    assert main(["retag", str(path), "--platform", "linux_armv7l", "--output", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_plan_says_what_would_be_done_and_starts_nothing(capsys):
    assert main(["plan", "--target", "armv6", "--python", "3.11"]) == 0
    out = capsys.readouterr().out
    assert "litert 2.1.0: the newest that is proven for Python 3.11 on pi-one" in out
    assert "build  litert-core 2.1.0 for pi-one" in out
    assert "fetch  " in out


def test_plan_as_json_can_be_read_by_a_program(capsys):
    main(["plan", "--target", "pi-two", "--python", "3.13", "--json"])
    plan = json.loads(capsys.readouterr().out)

    assert {"key", "reason", "artifacts", "images", "sources"} == plan.keys()
    assert plan["artifacts"][-1]["do"] == "build"


def test_a_plan_with_dependencies_is_one_json_document(capsys):
    main(["plan", "--target", "pi-two", "--python", "3.13", "--with-dependencies", "--json"])
    reasons = [plan["reason"] for plan in json.loads(capsys.readouterr().out)]

    assert [reason.split()[0] for reason in reasons] == ["numpy-wheel", "litert"]


def test_offline_with_an_empty_store_lists_everything_that_is_missing_at_once(capsys):
    assert main(["--target", "pi-one", "--python", "3.11", "--offline"]) == 5
    err = capsys.readouterr().err
    assert "ruy" in err
    assert "numpy" in err


def test_list_names_products_with_their_proofs_and_targets_with_their_pis(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("products:\n")
    newest = "tensorflow 1.14.0 2.7, 3.4, 3.5 pi-one, pi-two"
    assert newest.split() in [line.split() for line in out.splitlines()]
    words = ("tflite-runtime  2.14.1", "c-library", "grpcio", "pi-one: Raspberry Pi 1", "Zero 2 W")
    for word in words:
        assert word in out
    for word in ("armv6l", "gcc 10", "cpython"):
        assert word not in out


def test_list_shows_recipes_that_are_only_built_and_aliases_on_request(capsys):
    assert main(["list", "--all"]) == 0
    assert "cpython-machine" in capsys.readouterr().out
    assert main(["list", "-v"]) == 0
    out = capsys.readouterr().out
    for word in ("armv6l", "gcc 10", "2.19"):
        assert word in out


def test_list_as_json_names_the_kind_of_each_recipe(capsys):
    assert main(["list", "--json"]) == 0
    kinds = {recipe["name"]: recipe["kind"] for recipe in json.loads(capsys.readouterr().out)["recipes"]}
    assert (kinds["tflite-runtime"], kinds["grpcio"], kinds["cpython"]) == ("product", "dependency", "build-only")


@pytest.mark.parametrize("words", [["--help"], ["help", "verify"], ["run", "-h"], ["--version"]])
def test_help_imports_nothing_that_is_slow(words):
    slow = ("docker", "jinja2", "packaging", "pydantic", "requests", "rich", "shtab", "yaml")
    code = "import sys; from pibuild.commands.main import main\n"
    code += f"assert main({words}) == 0\nprint([name for name in {slow} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_schemas_are_printed_without_settings(capsys, tmp_path):
    (tmp_path / "pibuild.yaml").write_text("nonsense: true\n")
    assert main(["schema"]) == 0
    assert "target" in json.loads(capsys.readouterr().out)["properties"]
    assert main(["schema", "verify"]) == 0
    assert "wheels" in json.loads(capsys.readouterr().out)["properties"]
    assert main(["schema", "verfy"]) == 2
    assert "'verify'" in capsys.readouterr().err


def test_an_error_with_json_is_the_last_line_of_stderr_and_stdout_stays_empty(capsys):
    assert main(["--json", "--target", "pi-one", "--python", "3.11", "--offline"]) == 5
    printed = capsys.readouterr()
    error = json.loads(printed.err.splitlines()[-1])["error"]
    assert (error["type"], error["exit_code"], printed.out) == ("SourceError", 5, "")
    assert error["again"] == "pibuild --json --target pi-one --python 3.11 --offline"


def test_the_command_to_type_again_is_what_was_typed_without_passwords(capsys):
    typed = ["plan", "--mirrors=https://me:secret@host/{owner}", "--target", "pi-one", "--python", "3.11"]
    Path("disk").symlink_to("not mounted")
    assert main([*typed, "--store", "disk/my store", "-c", "https://me:secret@host"]) == 2
    assert "again:" not in capsys.readouterr().err
    assert main([*typed, "--store", "disk/my store"]) == 10
    err = capsys.readouterr().err
    assert "again: pibuild plan '--mirrors=https://host/{owner}' --target pi-one --python 3.11 --store 'disk/my" in err
    assert "secret" not in err.partition("again:")[2]


def test_quiet_prints_no_progress_and_verbose_outranks_a_quiet_of_the_settings(capsys, tmp_path):
    (tmp_path / "pibuild.yaml").write_text("quiet: true\n")
    words = ["--target", "pi-one", "--python", "3.11", "--offline"]
    assert main(words) == 5
    assert capsys.readouterr().err.startswith("pibuild: ")
    assert main([*words, "-v"]) == 5
    assert "key" in capsys.readouterr().err.splitlines()[0]
    assert main([*words, "-v", "-q"]) == 2


def test_no_color_is_obeyed_unless_color_is_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    words = ["plan", "--target", "pi-x", "--python", "3.11"]
    assert main([*words, "--color", "always"]) == 2
    assert capsys.readouterr().err.startswith("\x1b[31mpibuild:")
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("pibuild:")


def test_extras_are_separated_by_commas(capsys):
    asked = ["plan", "--target", "pi-two", "--python", "2.7", "--recipe", "tensorflow", "--json"]

    assert main([*asked, "--with", "c-library,benchmark"]) == 0
    together = json.loads(capsys.readouterr().out)
    assert main([*asked, "--with", "benchmark", "--with", "c-library"]) == 0

    assert json.loads(capsys.readouterr().out)["key"] == together["key"]
    assert main([*asked, "--with", "c-library,bench"]) == 2


@pytest.fixture
def shared(tmp_path):
    """A remote that has the proven wheel of pi-one and 3.11, and the file that names it."""
    plan = load_catalogue().plan(Request(target="pi-one", python="3.11", recipe="tflite-runtime", version=None))
    other = Machine(tmp_path / "other", LocalFolder(tmp_path / "shared"))
    other.share_wheel(plan, make_tflite_wheel(tmp_path / "made"))
    other.store.close()
    (tmp_path / "pibuild.yaml").write_text(f"store: {{remote: {tmp_path / 'shared'}}}\n")
    return tmp_path / "shared"


def test_a_wheel_that_another_machine_proved_is_downloaded_without_an_engine(capsys, shared, tmp_path):
    words = ["--recipe", "tflite-runtime", "--target", "pi-one", "--python", "3.11"]

    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == f"wheelhouse/{TFLITE}\n"
    assert "✓ pulling the proven wheel of tflite-runtime" in said.err
    assert (tmp_path / "store" / "wheels").is_dir()
    shutil.rmtree(shared)
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.usefixtures("shared")
def test_offline_asks_no_remote(capsys):
    assert main(["--recipe", "tflite-runtime", "--target", "pi-one", "--python", "3.11", "--offline"]) == 5
    assert "pulling" not in capsys.readouterr().err


@pytest.fixture
def matrix(tmp_path):
    """Declare a matrix of one cell, and publishing with more besides."""

    def declare(more=""):
        cell = '{recipe: tflite-runtime, targets: [pi-one], pythons: ["3.11"]}'
        (tmp_path / "pibuild.yaml").write_text(f"nightly:\n  cells: [{cell}]\n{more}")
        return "tflite-runtime-2.14.1-pi-one-3.11"

    return declare


def test_the_matrix_can_be_read_by_a_program(capsys, matrix):
    cell = matrix()
    assert main(["nightly", "matrix", "--format", "github"]) == 0
    assert json.loads(capsys.readouterr().out)["include"][0]["cell"] == cell
    assert main(["nightly", "matrix", "--format", "githb"]) == 2
    assert "did you mean 'github'" in capsys.readouterr().err


def test_the_settings_can_be_another_file(capsys, matrix, tmp_path):
    cell = matrix()
    (tmp_path / "pibuild.yaml").rename(tmp_path / "other.yaml")
    assert main(["nightly", "matrix", "-c", "other.yaml"]) == 0
    assert cell in capsys.readouterr().out
    assert main(["nightly", "matrix", "-c", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_cell_that_is_not_in_the_matrix_is_answered_with_the_nearest(capsys, matrix):
    cell = matrix()
    assert main(["nightly", "--only", cell.replace("3.11", "3.1")]) == 2
    assert f"did you mean {cell!r}" in capsys.readouterr().err


def test_a_night_without_an_engine_is_code_11_with_table_history_log_and_one_alarm(capsys, matrix, tmp_path):
    cell = matrix("  notify: {command: [sh, -c, 'cat >> told']}\n")
    assert main(["nightly", "--no-publish"]) == 11
    assert f"{cell}  ✗ failed" in capsys.readouterr().out
    assert main(["nightly", "--no-publish"]) == 11
    assert (tmp_path / "told").read_text().count('"turned": "red"') == 1
    capsys.readouterr()
    assert main(["nightly", "status"]) == 0
    assert f"✗ {cell}: since" in capsys.readouterr().out
    assert main(["nightly", "log", cell]) == 0
    assert "failed" in capsys.readouterr().out
    assert main(["nightly", "log", "tflite"]) == 2
    assert "No night had a cell 'tflite'" in capsys.readouterr().err


def test_a_night_that_fails_publishes_a_page_that_says_so_and_nothing_else(capsys, matrix, tmp_path):
    cell = matrix()
    assert main(["nightly"]) == 11
    page = (tmp_path / "site/current/index.html").read_text()
    assert cell in page
    assert main(["publish", "check", "site"]) == 0
    assert "0 wheels" in capsys.readouterr().out


def test_a_notify_setting_without_a_receiver_is_rejected(capsys, matrix):
    matrix("  notify: {}\n")
    assert main(["nightly"]) == 2
    assert "`nightly: notify:`" in capsys.readouterr().err


def test_a_wrong_signing_key_is_reported_before_anything_is_built(capsys, matrix, tmp_path):
    matrix("publish: {key: key.pem}\n")
    (tmp_path / "key.pem").write_text("no key")
    assert main(["nightly"]) == 2
    assert "key.pem" in capsys.readouterr().err
    assert not (tmp_path / "nightly/nights").exists() or not list((tmp_path / "nightly/nights").iterdir())


def test_a_folder_without_a_site_is_code_12(capsys, tmp_path):
    (tmp_path / "site").mkdir()
    assert main(["publish", "check", "site"]) == 12
    assert "site" in capsys.readouterr().err


def test_status_and_log_before_the_first_night_make_nothing(capsys, matrix, tmp_path):
    cell = matrix()
    assert main(["nightly", "status"]) == 0
    assert "no night has run yet" in capsys.readouterr().out
    assert main(["nightly", "log", cell]) == 2
    assert "no night has run yet" in capsys.readouterr().err
    assert not (tmp_path / "nightly").exists()


@pytest.mark.parametrize("name", ["logs", "junit.xml"])
def test_a_state_folder_whose_part_is_of_another_kind_is_code_10(capsys, matrix, tmp_path, name):
    matrix()
    (tmp_path / "nightly").mkdir()
    tmp_path.joinpath("nightly", name).write_text("") if name == "logs" else tmp_path.joinpath("nightly", name).mkdir()
    assert main(["nightly"]) == 10
    assert name in capsys.readouterr().err


def test_a_database_that_cant_be_written_is_a_warning(capsys, matrix, tmp_path):
    matrix()
    (tmp_path / "nightly/history.sqlite").mkdir(parents=True)
    assert main(["nightly", "--no-publish"]) == 11
    assert "history.sqlite" in capsys.readouterr().err


def test_a_store_folder_that_is_a_dangling_link_is_code_10(capsys, tmp_path):
    (tmp_path / "disk").symlink_to(tmp_path / "not mounted")
    assert main(["plan", "--target", "pi-one", "--python", "3.11", "--store", "disk/store"]) == 10
    assert "disk" in capsys.readouterr().err


def test_a_damaged_old_set_does_not_stop_a_publication(tmp_path, console, words):
    uploader = Uploader(destinations=(), rclone=Rclone({}), twine=Twine({}), console=console)

    def put(version):
        site = site_in(tmp_path / "site", console, retention=Policy(count=30))
        return publish_wheels(site, uploader, [make_proven(tmp_path / "made", version)], "a test", anew=False)

    old = put("1.0")
    put("1.1")
    put("1.2")
    (tmp_path / "site" / old.id / "set.json").write_bytes(b"")
    assert len(put("1.3").wheels) == 4
    assert f"The set {old.id} of {tmp_path}/site can't be read" in words.getvalue()


def test_a_night_waits_for_the_one_that_is_under_way(matrix, tmp_path):
    matrix()
    (tmp_path / "nightly").mkdir()
    command = [sys.executable, "-m", "pibuild", "nightly", "--no-publish"]
    with FileLock(tmp_path / "nightly" / "night.lock"):
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        night = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)
        assert "another night is running in this state folder" in night.stderr.readline()
        assert not list((tmp_path / "nightly").glob("nights/*"))
    night.communicate(timeout=60)
    assert night.returncode == 11
    assert len(list((tmp_path / "nightly").glob("nights/*.json"))) == 1


def test_a_published_wheel_can_be_yanked_unyanked_and_rolled_back(capsys, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    wheel = add_wheel(site)
    first = make_site(site, wheel)

    def page():
        return (site / "current/simple/thing/index.html").read_text()

    assert main(["publish", "yank", wheel.cell, "--reason", "it <b>fails</b>"]) == 0
    assert 'data-yanked="it &lt;b&gt;fails&lt;/b&gt;"' in page()
    assert main(["publish", "check", "site"]) == 0
    assert main(["publish", "unyank", wheel.file]) == 0
    assert "data-yanked" not in page()
    assert main(["publish", "rollback", first.id]) == 0
    assert (site / "current").readlink().name == first.id
    assert main(["publish", "yank", "thng", "--reason", "why"]) == 2
    assert "thing-1.0" in capsys.readouterr().err
