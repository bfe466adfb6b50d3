"""What an import needs of its place: names and syntax of its Python, tables, files; the truth is each Python's."""

from dataclasses import replace

import pytest

from pibuild.verify.findings import worst_outcome
from pibuild.verify.judge import Question, judge
from tests.makers.assembly import CREATE, assemble_object, init_function, module_data
from tests.makers.elfs import make_elf
from tests.makers.wheels import make_wheel

_MACHINE = "import platform\n"
_LISTED = {"thing/a.py": "__all__ = ['f', 'g']\nf = 1\n"}
_VENDOR = {"thing/vendor/vend.py": "x = 1\n", "thing/vendor/vp/__init__.py": "from . import _core\n"}
_HERE = "import os, sys\nhere = os.path.dirname(os.path.abspath(__file__))\n"
_LACKS = "from . import _core\n"
_PLACES = {
    "2.7": ("buster", 32),
    "3.7": ("buster", 32),
    "3.9": ("bullseye", 64),
    "3.11": ("bookworm", 64),
    "3.13": ("trixie", 64),
}
_PYTHONS_3 = ("3.7", "3.9", "3.11", "3.13")


def verification(folder, files, *, requires="", tag="py2.py3-none-any"):
    file_name, tags = f"thing-1.0-{tag}.whl", (tag,)
    contents = {path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()}
    metadata = f"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n{requires}"
    return judge(make_wheel(folder, contents, file_name=file_name, tags=tags, metadata=metadata))


def assembled(name="core"):
    """Return an extension module for 64 bits."""
    init = init_function(64, name=f"PyInit_{name}")
    return assemble_object(64, [init], data=module_data(name, ()), imports=[CREATE])


def said(folder, code, others=None, *, python="3.11", bits=0):
    """Return the verdict on a wheel with this `thing/__init__.py`."""
    release, usual = _PLACES[python]
    verdicts = verification(folder, {"thing/__init__.py": code} | (others or {})).asked(
        Question(release=release, python=python, bits=bits or usual)
    )
    return worst_outcome(finding for verdict in verdicts for finding in verdict.findings)


@pytest.mark.parametrize(
    ("code", "fails"),
    [
        ("from collections import Mapping\n", "3.11 3.13"),
        ("import collections\nclass A(collections.Mapping):\n    pass\n", "3.11 3.13"),
        ("import collections as c, collections.abc\nc.Mapping = c.abc.Mapping\nc.Mapping\n", ""),
        ("try:\n    from typing import re\nexcept ImportError:\n    import re\n", ""),
        ("from typing import Self\n", "3.7 3.9"),
        ("try:\n    from typing import Self\nexcept ImportError:\n    Self = None\n", ""),
        ("import sys\nif sys.version_info >= (3, 11):\n    from typing import Self\n", ""),
        ("import inspect\nspec = getattr(inspect, 'getargspec', None)\n", ""),
        ("import inspect\nif hasattr(inspect, 'getargspec'):\n    inspect.getargspec\n", ""),
        ("import inspect\ninspect.getargspec\n", "3.11 3.13"),
        ("import time\ndef now():\n    return time.clock()\n", ""),
        ("import time\ndef now():\n    return time.clock()\nnow()\n", "3.9 3.11 3.13"),
        ("import importlib.resources\nimportlib.resources.files('thing')\n", "3.7"),
        ("x = ExceptionGroup\n", "3.7 3.9"),
        ("x = unicode\n", "3.7 3.9 3.11 3.13"),
        ("try:\n    unicode\nexcept NameError:\n    unicode = str\nunicode\n", ""),
        ("import sys\nif sys.version_info[0] == 2:\n    text = unicode\nelse:\n    text = str\ntext\n", ""),
        ("import sys\nif sys.version_info < (3,):\n    input = raw_input\ninput\n", ""),
    ],
)
def test_a_python_has_the_names_that_its_version_has(tmp_path, code, fails):
    outcomes = {python: said(tmp_path / python, code, python=python) for python in _PYTHONS_3}
    assert outcomes == {python: "fails" if python in fails.split() else "runs" for python in _PYTHONS_3}


@pytest.mark.parametrize(
    ("code", "fails"),
    [
        ("def f(x: int | None) -> str | bytes:\n    pass\n", "3.7 3.9"),
        ("from __future__ import annotations\ndef f(x: int | None) -> str | bytes:\n    pass\n", ""),
        ("def f():\n    x: int | None = 1\nf()\n", ""),
        ("class A:\n    x: int | None = None\n", "3.7 3.9"),
        ("X = list[int]\n", "3.7"),
        ("def f(x: 'list[int] | None'):\n    pass\n", ""),
        ("class int:\n    def __class_getitem__(cls, key):\n        pass\ndef f(x: int[1]):\n    pass\n", ""),
        ("x = {1} | {2}\ny = True | False\n", ""),
        ("fs = [lambda f: f]\n@fs[0]\ndef f():\n    pass\n", "3.7"),
        ("def f(*a):\n    return 1, *a\n", "3.7"),
        ("def f(*a):\n    return (1, *a)\n", ""),
        ("a = (1, 2)\nx = {(1, 2): 3}[*a]\n", "3.7 3.9"),
        ("a = (1, 2)\nx = {(1, 2): 3}[(*a,)]\n", ""),
    ],
)
def test_a_python_reads_and_executes_what_its_version_knows(tmp_path, code, fails):
    outcomes = {python: said(tmp_path / python, code, python=python) for python in _PYTHONS_3}
    assert outcomes == {python: "fails" if python in fails.split() else "runs" for python in _PYTHONS_3}


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("{'x86_64': 1}[platform.machine()]\n", "fails"),
        ("T = {'x86_64': 1}\nT[platform.machine()]\n", "fails"),
        ("T = {'Linux': {'x86_64': 1}}\nT[platform.system()][platform.machine()]\n", "fails"),
        ("{('Linux', 'x86_64'): 1}[platform.system(), platform.machine()]\n", "fails"),
        ("T = {'x86_64': 1}\nif platform.machine() not in T:\n    raise ImportError\n", "fails"),
        ("T = {'x86_64': 1}\ntry:\n    T[platform.machine()]\nexcept ImportError:\n    pass\n", "fails"),
        ("T = {'x86_64': 1}\ntry:\n    T[platform.machine()]\nexcept KeyError:\n    pass\n", "runs"),
        ("T = {'x86_64': 1}\nT.get(platform.machine())\n", "runs"),
        ("T = {'x86_64': 1}\nT[platform.machine()] = 2\nT[platform.machine()]\n", "runs"),
        ("T = {'x86_64': 1}\nT.update(aarch64=2)\nT[platform.machine()]\n", "runs"),
        ("T = {'x86_64': 1}\nU = T\nU['aarch64'] = 2\nT[platform.machine()]\n", "runs"),
        ("T = {'x86_64': 1}\ndef add(t):\n    t['aarch64'] = 2\nadd(T)\nT[platform.machine()]\n", "runs"),
        ("from .a import T\nT[platform.machine()]\n", "runs"),
        ("T = {'x86_64': 1, 'aarch64': 2}\nT[platform.machine()]\n", "runs"),
        ("import collections\nT = collections.defaultdict(int)\nT[platform.machine()]\n", "runs"),
        ("if platform.machine() == 'x86_64':\n    name = 'a'\nname\n", "fails"),
        ("if platform.machine() == 'x86_64':\n    name = 'a'\nelse:\n    name = 'b'\nname\n", "runs"),
        ("if platform.machine() == 'x86_64':\n    name = 'a'\ndef f():\n    return name\n", "runs"),
        ("if platform.machine() == 'x86_64':\n    join = None\nfrom os.path import *\njoin('a')\n", "runs"),
    ],
)
def test_a_table_without_the_machine_ends_the_import(tmp_path, code, outcome):
    table = {"thing/a.py": "T = {'x86_64': 1}\nT.setdefault('aarch64', 2)\n"}
    assert said(tmp_path, f"{_MACHINE}{code}", table) == outcome


@pytest.mark.parametrize(
    ("code", "others", "outcome"),
    [
        ("from .a import *\n", _LISTED, "fails"),
        ("from .a import *\n", {"thing/a.py": "__all__ = ['f']\nf = 1\n"}, "runs"),
        ("from .a import *\n", {"thing/a.py": "__all__ = ['f']\n__all__ += ['g']\nf = 1\n"}, "fails"),
        ("from .a import *\n", {"thing/a.py": "__all__ = ['f']\n__all__.remove('f')\n"}, "runs"),
        ("from .a import *\n", {"thing/a.py": "__all__ = ['f']\nif not __file__:\n    f = 1\n"}, "fails"),
        ("from .a import *\n", {"thing/a.py": "__all__ = ['f']\nglobals()['f'] = 1\n"}, "runs"),
        ("from .a import *\n", {"thing/a.py": "__all__ = ['f']\ndef __getattr__(name):\n    return 1\n"}, "runs"),
        ("try:\n    from .a import *\nexcept AttributeError:\n    pass\n", _LISTED, "runs"),
        ("try:\n    from .a import *\nexcept ImportError:\n    pass\n", _LISTED, "fails"),
        ("from .p import *\n", {"thing/p/__init__.py": "__all__ = ['m']\n", "thing/p/m.py": ""}, "runs"),
        ("from .p import *\n", {"thing/p/__init__.py": "__all__ = ['m']\n", "thing/p/m.py": _LACKS}, "fails"),
        ("from . import a\na.h\n", _LISTED, "fails"),
        ("from . import a\na.h = 1\na.h\n", _LISTED, "runs"),
        ("from . import a\nhasattr(a, 'h')\n", _LISTED, "runs"),
        ("from .a import join\n", {"thing/a.py": "from os.path import *\n"}, "runs"),
        ("__all__ = ['nothing']\n", {}, "runs"),
        ("HINT = True\nglobals()['tnih'[::-1].upper()] = False\nif HINT:\n    from . import _core\n", {}, "runs"),
        ("HINT = True\nglobals()['OTHER'] = False\nif HINT:\n    import thing._core\n", {}, "fails"),
    ],
)
def test_a_module_has_the_names_that_are_taken_from_it(tmp_path, code, others, outcome):
    assert said(tmp_path, code, others) == outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("sys.path.insert(0, os.path.join(here, 'vendor'))\nfrom vend import x\n", "runs"),
        ("sys.path.append(here + '/vendor')\nfrom vend import nothing\n", "fails"),
        ("sys.path += [here + '/vendor']\nimport vp\n", "fails"),
        ("sys.path.append(here + '/vendor')\ntry:\n    import vp\nexcept ImportError:\n    vp = None\n", "runs"),
        ("import site\nsite.addsitedir(here + '/vendor')\nimport vp\n", "fails"),
        ("sys.path.append(os.environ['HOME'])\nimport vp\n", "runs"),
        ("__path__.append(here + '/vendor')\nfrom . import vend\n", "runs"),
        ("__path__ += [here + '/vendor']\nfrom .vend import x\n", "runs"),
        ("__path__.append(here + '/vendor')\nfrom . import vp\n", "fails"),
    ],
)
def test_code_makes_python_look_in_folders_of_the_wheel(tmp_path, code, outcome):
    assert said(tmp_path, f"{_HERE}{code}", _VENDOR) == outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("import asyncio\nasync def f():\n    from . import _core\nasyncio.run(f())\n", "fails"),
        ("import asyncio\nasync def f():\n    from . import _core\n", "runs"),
        ("import asyncio\nasync def f():\n    from . import _core\nf().close()\n", "runs"),
        (
            ("import asyncio\nasync def f():\n    from . import _core\nasync def g():\n    await f()\n"
            "asyncio.new_event_loop().run_until_complete(g())\n"),
            "fails",
        ),
        ("try:\n    from . import _core\nexcept* ImportError:\n    pass\n", "runs"),
        ("try:\n    from . import _core\nexcept* ValueError:\n    pass\n", "fails"),
    ],
)
def test_asynchronous_code_is_executed_when_it_is_awaited(tmp_path, code, outcome):
    assert said(tmp_path, code) == outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("x = open(here + '/VERSION').read()\n", "fails"),
        ("with open(os.path.join(here, 'VERSION')) as file:\n    x = file.read()\n", "fails"),
        ("import pathlib\nx = (pathlib.Path(__file__).parent / 'VERSION').read_text()\n", "fails"),
        ("try:\n    x = open(here + '/VERSION').read()\nexcept OSError:\n    x = ''\n", "runs"),
        ("x = open(here + '/there.txt').read()\n", "runs"),
        ("x = open(os.path.dirname(here) + '/README.md').read()\n", "unsure"),
        ("open(here + '/VERSION', 'w').write('1')\nx = open(here + '/VERSION').read()\n", "runs"),
        ("x = open('/etc/hostname').read()\n", "runs"),
        ("def f():\n    return open(here + '/VERSION').read()\n", "runs"),
    ],
)
def test_a_file_that_the_import_reads_is_in_the_wheel(tmp_path, code, outcome):
    assert said(tmp_path, f"{_HERE}{code}", {"thing/there.txt": ""}) == outcome


def test_a_handler_catches_that_python_can_not_read_a_file(tmp_path):
    old = {"thing/old.py": "print 'x'\n", "thing/new.py": ""}
    code = "try:\n    from . import old\nexcept {}:\n    from . import new\n"
    assert said(tmp_path, code.format("SyntaxError"), old) == "runs"
    assert said(tmp_path, code.format("ImportError"), old) == "fails"


@pytest.mark.parametrize(
    ("code", "path_file", "outcome"),
    [
        ("import vend\n", "thing/vendor\n", "runs"),
        ("from vend import nothing\n", "thing/vendor\n", "fails"),
        ("import vend\n", "no/such/folder\n", "unsure"),
        ("import vend\n", "/usr/share/things\n", "runs"),
        ("from thing._core import x\n", "import thing_maker\n", "unsure"),
        ("from thing._core import x\n", "thing/vendor\n", "fails"),
        ("", b"# caf\xe9\n", "fails"),
        ("", "# café\n", "runs"),
    ],
)
def test_python_reads_path_files_when_it_starts(tmp_path, code, path_file, outcome):
    assert said(tmp_path, code, _VENDOR | {"thing.pth": path_file}) == outcome


def test_code_in_a_path_file_is_a_note(tmp_path):
    files = {"thing/__init__.py": "", "thing.pth": "import thing\n", "other.pth": "thing\n"}
    assert [note.path for note in verification(tmp_path, files).notes] == ["thing.pth"]


def test_modules_in_the_folder_of_one_python_are_doubtful(tmp_path):
    place = "thing-1.0.data/data/lib/python3.11/site-packages/thing/_core.py"
    assert said(tmp_path, _LACKS, {place: ""}) == "unsure"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("try:\n    pass\nexcept ValueError, error:\n    pass\n", "fails"),
        ("mode = 0777\n", "fails"),
        ("if True:\n        x = 1\n\ty = 2\n", "fails"),
        ("x = 0o777\n", "runs"),
    ],
)
def test_no_later_python_reads_code_of_python_2(tmp_path, code, outcome):
    assert said(tmp_path, code, python="3.13") == outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("x = 'é'\n", "fails"),
        ("# coding: utf-8\nx = 'é'\n", "runs"),
        ("#!/usr/bin/python\n# -*- coding: utf-8 -*-\nx = 'é'\n", "runs"),
        ("print('a', 'b', sep='')\n", "fails"),
        ("from __future__ import print_function\nprint('a', 'b', sep='')\n", "runs"),
        ("from __future__ import annotations\n", "fails"),
        ("a, *b = 1, 2\n", "fails"),
        ("x = [*(1, 2)]\n", "fails"),
        ("f = lambda *a: a\nf(*(1,), *(2,))\n", "fails"),
        ("f = lambda *a: a\nf(*(1,))\n", "runs"),
        ("import a\n", "runs"),
        ("from __future__ import absolute_import\nimport a\n", "unsure"),
        ("import b\n", "unsure"),
    ],
)
def test_python_2_reads_old_code_and_looks_beside_it_for_modules(tmp_path, code, outcome):
    assert said(tmp_path, code, {"thing/a.py": ""}, python="2.7") == outcome


def test_python_2_finds_no_package_without_an_init(tmp_path):
    question = Question(release="buster", python="2.7")
    for files, outcome in (
        ({"ns/thing.py": ""}, "fails"),
        ({"ns/thing.py": "", "ns/__init__.py": ""}, "runs"),
        ({"ns/thing.py": "", "ns-nspkg.pth": "import sys, types\n"}, "runs"),
    ):
        verdicts = verification(tmp_path, files).asked(question)
        assert worst_outcome(finding for verdict in verdicts for finding in verdict.findings) == outcome


@pytest.mark.parametrize(
    ("target", "is_noted"),
    [
        ("thing.cli:main", False),
        ("thing.cli:start", True),
        ("thing.nothing:main", True),
        ("thing.star:anything", False),
        ("thing:lazy", False),
        ("thing.cli:App.run", False),
        ("thing:cli", False),
        ("other.cli:main", False),
    ],
)
def test_a_program_without_its_function_is_a_note(tmp_path, target, is_noted):
    files = {
        "thing/__init__.py": "def __getattr__(name):\n    return 1\n",
        "thing/cli.py": "from . import App\ndef main():\n    pass\n",
        "thing/star.py": "from os.path import *\n",
        "thing-1.0.dist-info/entry_points.txt": f"[console_scripts]\nthing = {target}\n",
    }
    verified = verification(tmp_path, files, requires="Requires-Dist: other\n")
    assert any("the program thing needs" in note.reason for note in verified.notes) == is_noted
    assert worst_outcome(finding for each in verified.asked(Question()) for finding in each.findings) == "runs"


def test_python_takes_an_extension_module_before_a_python_file(tmp_path):
    old = {"thing/core.py": "raise RuntimeError\n"}
    code = "from . import core\n"
    assert said(tmp_path, code, old | {"thing/core.abi3.so": assembled()}) == "runs"
    assert said(tmp_path, code, old | {"thing/core.cpython-310-x86_64-linux-gnu.so": assembled()}) == "fails"
    assert said(tmp_path, "raise RuntimeError\n", {"thing/__init__.abi3.so": assembled("thing")}) == "runs"


@pytest.mark.parametrize(
    ("place", "others", "outcome"),
    [
        ("thing/core_x86_64.abi3.so", {"thing/_aarch64.py": ""}, "runs"),
        ("thing/amd64/core.abi3.so", {"thing/_aarch64.py": ""}, "runs"),
        ("thing/more/core.abi3.so", {"thing/_aarch64.py": ""}, "unsure"),
        ("thing/core.cpython-311-x86_64-linux-gnu.so", {"thing/_aarch64.py": ""}, "unsure"),
        ("thing/core_x86_64.abi3.so", {}, "fails"),
    ],
)
def test_a_module_that_names_another_machine_is_no_doubt(tmp_path, place, others, outcome):
    code = "import importlib, platform\nfrom . import _core\nimportlib.import_module('thing._%s' % {})\n"
    name = place.rpartition("/")[2].partition(".")[0]
    other = make_elf(exports=((f"PyInit_{name}", 0),), functions=((f"PyInit_{name}", 0),))
    module = {"thing/__init__.py": code.format("platform.machine()"), "thing/_core.abi3.so": assembled("_core")}
    files = module | {place: other} | others
    verified = verification(tmp_path, files, tag="cp39-abi3-linux_aarch64")
    asked = verified.asked(Question(release="bookworm", python="3.11", bits=64))
    assert worst_outcome(finding for each in asked for finding in each.findings) == outcome


@pytest.mark.parametrize(
    ("symbol", "outcome"), [("init_curve", "runs"), ("init_raw", "unsure"), ("PyInit_raw", "unsure")]
)
def test_a_library_that_is_named_like_a_module_is_none(tmp_path, symbol, outcome):
    library = assemble_object(64, [replace(init_function(64, name=symbol), code=[])], data={}, imports=[])
    files = {"thing/__init__.py": "load = 'thing._raw'\n", "thing/_raw.abi3.so": library}
    verified = verification(tmp_path, files, tag="cp39-abi3-linux_aarch64")
    asked = verified.asked(Question(release="bookworm", python="3.11", bits=64))
    assert worst_outcome(finding for each in asked for finding in each.findings) == outcome
