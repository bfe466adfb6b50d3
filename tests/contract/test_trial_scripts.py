"""The scripts that try a wheel on the device, with this machine's Python: a wheel's code can't make up results."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pibuild

SCRIPT = Path(pibuild.__file__).parent / "emulate" / "on_device" / "try_wheel.py"
SUCCESS = json.dumps({"step": "import", "trial": 0, "answered": True, "exit": 0, "report": {"failures": []}})

WRITE_TO_ALL = """
import os
def write(data):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            pass
write"""


def loaded():
    spec = importlib.util.spec_from_file_location("try_wheel", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRY = loaded()


def imported(folder, source, *, deadline_s=20, code="", extensions=()):
    (folder / "thing.py").write_text(source)
    trial = {"modules": ["thing"], "extensions": list(extensions), "code": code, "calls": []}
    return TRY._imported(trial, {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}, deadline_s)


def test_an_import_is_answered_and_its_output_is_kept(tmp_path):
    result = imported(tmp_path, "print('words')", code="import thing; print(thing.__name__)")

    assert (result["answered"], result["exit"]) == (True, 0)
    assert result["report"] == {"imported": ["thing"], "failures": []}
    assert result["output"] == "words\nthing\n"


@pytest.mark.parametrize(
    ("source", "exit_code"),
    [
        ("import os; os._exit(0)", 0),
        (f"import os; print({SUCCESS!r}, flush=True); os._exit(0)", 0),
        (f"{WRITE_TO_ALL}(b'imported\\n'); os._exit(0)", 0),
        ("import os; os.kill(os.getpid(), 4)", -signal.SIGILL),
        ("import os; os.closerange(3, 64); os._exit(0)", 0),
    ],
)
def test_an_import_that_ends_python_is_not_answered(tmp_path, source, exit_code):
    result = imported(tmp_path, source)

    assert (result["answered"], result["exit"]) == (False, exit_code)


def test_an_import_that_writes_to_every_pipe_and_goes_on_is_not_answered(tmp_path):
    assert not imported(tmp_path, f"{WRITE_TO_ALL}({b'imported' + bytes([10])!r})")["answered"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import sys; sys.exit(0)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import no_such_thing", "ModuleNotFoundError"),
        ("class Odd(Exception):\n  def __str__(self): raise ValueError\nraise Odd", "Odd"),
    ],
)
def test_an_exception_of_the_import_is_reported(tmp_path, source, error):
    result = imported(tmp_path, source)

    assert result["answered"]
    assert [failure["error"] for failure in result["report"]["failures"]] == [error]


def test_the_missing_module_is_named(tmp_path):
    (failure,) = imported(tmp_path, "import no_such_thing.part")["report"]["failures"]

    assert failure["missing"] == "no_such_thing"


def test_extensions_are_imported_after_modules_and_reported_by_kind(tmp_path):
    (tmp_path / "part.py").write_text("import thing; assert thing.READY")
    result = imported(tmp_path, "READY = True", extensions=("part", "none"))

    assert result["report"]["imported"] == ["thing", "part"]
    assert [failure["kind"] for failure in result["report"]["failures"]] == ["extensions"]


ANSWER = r"""
import os, sys
source, sink = map(int, sys.orig_argv[-3:-1])
os.write(sink, b"imported\n")
word = os.read(source, 99).strip()
os.write(sink, word + b" " + word + b' {"imported": ["thing"], "failures": []}\n')
"""


@pytest.mark.parametrize(
    "source",
    [
        "import importlib; importlib.import_module = lambda name: None",
        "import json; json.dumps = lambda value: '{\"imported\": [\"thing\"], \"failures\": []}'",
        ANSWER,
    ],
)
def test_code_that_runs_when_python_starts_can_not_make_up_an_import(tmp_path, source):
    (tmp_path / "sitecustomize.py").write_text(source)
    result = imported(tmp_path, "raise ImportError")

    assert not result["answered"] or result["report"]["failures"]


def test_a_first_process_ignores_signals_and_its_children_do_not():
    parent = (
        "import importlib.util, os, signal, sys\n"
        f"spec = importlib.util.spec_from_file_location('try_wheel', {str(SCRIPT)!r})\n"
        "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\nmodule._protect()\n"
        "for number in (signal.SIGTERM, signal.SIGSEGV, 33, 50):\n    os.kill(os.getpid(), number)\n"
        "code = 'import os; os.kill(os.getpid(), 15)'\n"
        "print(module._ended([sys.executable, '-c', code], {}, 20)['exit'])\n"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=False)

    assert done.stdout == "-15\n", done.stderr


def test_the_time_that_an_import_waits_for_a_busy_cpu_does_not_count(tmp_path):
    burn = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile sum(os.times()[:2]) < {}: pass"
    others = [subprocess.Popen([sys.executable, "-c", burn.replace("{}", "60")]) for _ in range(3)]
    try:
        result = imported(tmp_path, burn.replace("{}", "0.5"), deadline_s=1)
    finally:
        for other in others:
            other.kill()
            other.wait()

    assert (result["answered"], result["is_late"]) == (True, False)


def test_an_import_that_hangs_is_late(tmp_path):
    result = imported(tmp_path, "import time; time.sleep(60)", deadline_s=1)

    assert (result["answered"], result["exit"], result["is_late"]) == (False, None, True)


def test_an_import_that_leaves_a_child_with_its_pipes_ends(tmp_path):
    began_s = time.monotonic()
    result = imported(tmp_path, "import subprocess; subprocess.Popen(['sleep', '60'])")

    assert result["answered"]
    assert time.monotonic() - began_s < 30


def test_a_script_named_like_a_module_of_the_wheel_is_not_imported_instead(tmp_path):
    (tmp_path / "try_wheel.py").write_text("WORD = 'of the wheel'")

    assert imported(tmp_path, "import try_wheel; print(try_wheel.WORD)")["output"] == "of the wheel\n"


def test_another_process_can_not_reach_the_output_of_the_first():
    without_privileges = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    parent = (
        "import importlib.util, os, subprocess, sys\n"
        f"spec = importlib.util.spec_from_file_location('try_wheel', {str(SCRIPT)!r})\n"
        "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\nmodule._protect()\n"
        "for path in ('fd/1', 'mem'):\n"
        '    code = \'open("/proc/%d/%s", "r+b", 0)\' % (os.getpid(), path)\n'
        "    child = subprocess.run([sys.executable, '-c', code], capture_output=True)\n"
        "    print(path, b'PermissionError' in child.stderr)\n"
    )
    command = [*without_privileges, sys.executable, "-c", parent]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout == "fd/1 True\nmem True\n", done.stderr


MODULE = "/x/site-packages/demo.abi3.so"
LOG = f"""\
7 openat(AT_FDCWD,"/etc/ld.so.cache",O_RDONLY|O_CLOEXEC) = 4
7 mmap(NULL,37707,PROT_READ,MAP_PRIVATE,4,0) = 0x0000005501000000
7 openat(AT_FDCWD,"{MODULE}",O_RDONLY|O_CLOEXEC) = 4
7 mmap(NULL,139264,PROT_EXEC|PROT_READ,MAP_PRIVATE|MAP_DENYWRITE,4,0) = 0x0000005502000000
7 mmap(0x0000005502010000,8192,PROT_READ|PROT_WRITE,MAP_PRIVATE|MAP_DENYWRITE|MAP_FIXED,4,0x10000) = 0x0000005502010000
7 openat(AT_FDCWD,"/y",O_RDONLY|O_CLOEXEC) = -1 errno=2 (No such file or directory)
"""


@pytest.mark.parametrize(
    ("line", "path", "offset"),
    [
        ("--- SIGILL {si_signo=SIGILL, si_code=2, si_addr=0x00000055020006ac} ---", MODULE, 0x6AC),
        ("illegal here: 4e284820 at 0x5502010010", MODULE, 0x10010),
        ("--- SIGILL {si_signo=SIGILL, si_code=2, si_addr=0x0000005500000a14} ---", "", 0),
    ],
)
def test_an_illegal_instruction_is_located_in_its_file(monkeypatch, tmp_path, line, path, offset):
    monkeypatch.setattr(TRY, "_LOG", str(tmp_path / "log"))
    (tmp_path / "log").write_text(LOG + line + "\n")
    place = TRY._illegal_place()

    assert (place["path"], place["offset"]) == (path, offset)


def test_pages_of_mmap2_are_4096_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr(TRY, "_LOG", str(tmp_path / "log"))
    (tmp_path / "log").write_text(
        '7 openat(AT_FDCWD,"./l.so",O_RDONLY|O_LARGEFILE|O_CLOEXEC) = 4\n'
        "7 mmap2(0x3f7c6000,12288,PROT_EXEC|PROT_READ,MAP_PRIVATE|MAP_DENYWRITE|MAP_FIXED,4,0x109) = 0x3f7c6000\n"
        "--- SIGILL {si_signo=SIGILL, si_code=2, si_addr=0x3f7c6180} ---\n"
    )

    assert TRY._illegal_place() == {"address": 0x3F7C6180, "path": "./l.so", "offset": 0x109180}


def test_programs_are_found_where_pip_installs_them(monkeypatch):
    monkeypatch.setenv("PIBUILD_PREFIX", "/p")
    site = "/p/lib/python{}.{}/site-packages".format(*sys.version_info)

    assert TRY._installed_path("ruff-1.data/scripts/ruff") == "/p/bin/ruff"
    assert TRY._installed_path("thing-1.data/platlib/thing/bin/tool") == f"{site}/thing/bin/tool"
    assert TRY._installed_path("thing/bin/tool") == f"{site}/thing/bin/tool"
