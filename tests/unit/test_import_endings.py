"""How the import of a wheel ends: what fails, who catches it, and what follows; the truth is Python 3.11's."""

import pytest

from pibuild.verify.findings import worst_outcome
from pibuild.verify.judge import Question, judge
from tests.makers.elfs import make_elf
from tests.makers.wheels import make_wheel

_CTYPES = "import ctypes, ctypes.util\nfrom ctypes import CDLL, cdll\n"
_GUARDED = "try:\n    from . import _core\nexcept {}:\n    _core = None\n"
_NONE = _GUARDED.format("ImportError")
_LOADED = "import importlib\ndef load(name):\n    {}\n"
_CORE = "from . import _core"


def said(folder, code, others=None, *, bits=64, python="3.11", release="bookworm"):
    """Return the verdict on a wheel with this `thing/__init__.py`; nothing in it is called _core."""
    files = {"thing/__init__.py": code} | (others or {})
    file_name = "thing-1.0-py3-none-any.whl"
    contents = {path: text.encode() for path, text in files.items()}
    verification = judge(make_wheel(folder, contents, file_name=file_name, tags=("py3-none-any",)))
    verdicts = verification.asked(Question(release=release, python=python, bits=bits))
    return worst_outcome(finding for verdict in verdicts for finding in verdict.findings)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("try:\n    import json\nexcept ImportError:\n    pass\nelse:\n    from . import _core\n", "fails"),
        ("try:\n    from . import _other\nexcept ImportError:\n    pass\nelse:\n    from . import _core\n", "runs"),
        ("try:\n    import json\nexcept ImportError:\n    pass\nfinally:\n    from . import _core\n", "fails"),
        ("while True:\n    from . import _core\n    break\n", "fails"),
        ("while True:\n    break\n    from . import _core\n", "runs"),
        ("while True:\n    try:\n        from . import _core\n    except ImportError:\n        break\n", "runs"),
        ("while False:\n    from . import _core\n", "runs"),
        ("for _ in (1, 2):\n    from . import _core\n", "fails"),
        ("for _ in ():\n    from . import _core\n", "runs"),
        ("for _ in range(2):\n    from . import _core\n", "fails"),
        ("for _ in (1,):\n    pass\nelse:\n    from . import _core\n", "fails"),
        ("import contextlib\nsafe = contextlib.suppress(ImportError)\nwith safe:\n    from . import _core\n", "runs"),
        ("import warnings\nwith warnings.catch_warnings():\n    from . import _core\n", "fails"),
        ("match 1:\n    case _:\n        from . import _core\n", "fails"),
        ("import sys\nmatch sys.platform:\n    case 'linux':\n        from . import _core\n", "fails"),
        ("import sys\nmatch sys.platform:\n    case 'win32':\n        from . import _core\n", "runs"),
    ],
)
def test_a_block_that_is_always_executed_needs_what_it_imports(tmp_path, code, outcome):
    assert said(tmp_path, code) == outcome


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        ("ModuleNotFoundError", "fails"),  # `from package import module` raises ImportError
        ("(OSError, AttributeError)", "fails"),
        ("LookupError", "fails"),
        ("Exception", "runs"),
        ("BaseException", "runs"),
        ("(OSError, ImportError)", "runs"),
        ("(*(ImportError,), OSError)", "runs"),
    ],
)
def test_a_handler_catches_only_its_own_exceptions(tmp_path, handler, outcome):
    assert said(tmp_path, _GUARDED.format(handler)) == outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (f"E = ImportError\n{_GUARDED.format('E')}", "runs"),
        (f"E = (ImportError,) + (OSError,)\n{_GUARDED.format('E')}", "runs"),
        (f"E = (ValueError, OSError)\n{_GUARDED.format('E')}", "fails"),
        (f"import builtins\n{_GUARDED.format('builtins.ImportError')}", "runs"),
        (f"class E(ImportError):\n    pass\n{_GUARDED.format('E')}", "fails"),
        (f"class ImportError(Exception):\n    pass\n{_GUARDED.format('ImportError')}", "fails"),
        ("try:\n    from ._core import x\nexcept ModuleNotFoundError:\n    x = None\n", "runs"),
        ("try:\n    import thing._core\nexcept ModuleNotFoundError:\n    pass\n", "runs"),
        (
            ("class E(ImportError):\n    pass\ntry:\n    try:\n        from . import _core\n"
            "    except ImportError as err:\n        raise E from err\nexcept E:\n    pass\n"),
            "runs",
        ),
        ("import contextlib\nwith contextlib.suppress(ModuleNotFoundError):\n    from ._core import x\n", "runs"),
        ("import contextlib\nwith contextlib.suppress(ModuleNotFoundError):\n    from . import _core\n", "fails"),
    ],
)
def test_exceptions_are_known_by_other_names(tmp_path, code, outcome):
    assert said(tmp_path, code) == outcome


@pytest.mark.parametrize(
    ("inner", "outcome"),
    [
        ("from . import _core\n", "runs"),
        ("try:\n    from . import _core\nexcept ImportError as err:\n    raise RuntimeError from err\n", "fails"),
    ],
)
def test_an_exception_leaves_the_module_that_is_imported(tmp_path, inner, outcome):
    code = "try:\n    from . import sub\nexcept ImportError:\n    sub = None\n"
    assert said(tmp_path, code, {"thing/sub.py": inner}) == outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (
            ("error = None\ntry:\n    from . import _core\nexcept ImportError as err:\n    error = err\n"
            "if error is not None:\n    raise error\n"),
            "fails",
        ),
        (
            ("try:\n    from . import _core\n    OK = True\nexcept ImportError:\n    OK = False\n"
            "if not OK:\n    raise RuntimeError('rebuild')\n"),
            "fails",
        ),
        (
            ("try:\n    from . import _core\n    OK = True\nexcept ImportError:\n    OK = False\n"
            "if OK:\n    from . import _other\n"),
            "runs",
        ),
        (f"{_NONE}assert _core is not None\n", "fails"),
        (f"import sys\n{_NONE}if not _core:\n    sys.exit('rebuild')\n", "fails"),
        (f"{_NONE}def check():\n    if _core is None:\n        raise ImportError\ncheck()\n", "fails"),
        (f"{_NONE}def check():\n    if _core is None:\n        raise ImportError\n", "runs"),
        (f"{_NONE}_core.init()\n", "fails"),
        (f"{_NONE}_core()\n", "fails"),
        (f"{_NONE}class A(_core.Base):\n    pass\n", "fails"),
        (f"{_NONE}@_core.register\ndef f():\n    pass\n", "fails"),
        (f"{_NONE}def f(x=_core.X):\n    pass\n", "fails"),
        (f"{_NONE}def f(x: _core.X):\n    pass\n", "fails"),
        (f"from __future__ import annotations\n{_NONE}def f(x: _core.X):\n    pass\n", "runs"),
        (f"{_NONE}def f():\n    return _core.x\n", "runs"),
        (f"{_NONE}if _core is not None:\n    _core.x\n", "runs"),
        (f"{_NONE}x = _core and _core.x\n", "runs"),
        (f"{_NONE}x = _core.x if _core else 0\n", "runs"),
        (f"{_NONE}try:\n    _core.x\nexcept AttributeError:\n    pass\n", "runs"),
        ("try:\n    from ._core import f\nexcept ImportError:\n    pass\nf()\n", "fails"),
        (
            ("try:\n    from ._core import f\nexcept ImportError:\n    pass\n"
            "try:\n    f\nexcept NameError:\n    pass\n"),
            "runs",
        ),
    ],
)
def test_what_is_missed_later_is_needed(tmp_path, code, outcome):
    assert said(tmp_path, code) == outcome


def test_what_another_module_could_not_import_is_missed(tmp_path):
    code = "from . import a\nif a.core is None:\n    raise ImportError\n"
    assert said(tmp_path, code, {"thing/a.py": _NONE.replace("_core", "core")}) == "fails"
    guarded = "try:\n    from ._core import f\nexcept ImportError:\n    pass\n"
    assert said(tmp_path, "from .a import f\n", {"thing/a.py": guarded}) == "fails"
    assert said(tmp_path, "from .a import g\n", {"thing/a.py": f"{guarded}g = 1\n"}) == "runs"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("import importlib\nNAME = 'thing._core'\nimportlib.import_module(NAME)\n", "fails"),
        ("from importlib import import_module as load\nload('._core', package=__name__)\n", "fails"),
        ("__import__('thing._core')\n", "fails"),
        ("(lambda: __import__('thing._core'))()\n", "fails"),
        ("import importlib\nfor name in ['a', '_core']:\n    importlib.import_module(f'thing.{name}')\n", "fails"),
        ("import importlib\n[importlib.import_module('thing.' + name) for name in ('a', '_core')]\n", "fails"),
        ("import importlib\nfor name in ('a',):\n    importlib.import_module(f'thing.{name}')\n", "runs"),
        (_LOADED.format("return importlib.import_module('thing.' + name)") + "load('_core')\n", "fails"),
        (_LOADED.format("return importlib.import_module('thing.' + name)"), "runs"),
        ("def f():\n    from . import _core\nf()\n", "fails"),
        ("class A:\n    def __init__(self):\n        from . import _core\nA()\n", "fails"),
        ("class A:\n    def go(self):\n        from . import _core\nA().go()\n", "fails"),
        ("class A:\n    def go(self):\n        from . import _core\nA()\n", "runs"),
        ("from importlib.util import find_spec\nif find_spec('thing._core'):\n    from . import _core\n", "runs"),
        ("from importlib.util import find_spec\nif find_spec('json'):\n    from . import _core\n", "fails"),
        ("from importlib.util import find_spec\nif not find_spec('thing._core'):\n    raise ImportError\n", "fails"),
        ("from importlib.util import find_spec\nfind_spec('thing._core.sub')\n", "fails"),
        ("import sys, types\nsys.modules['thing._core'] = types.ModuleType('x')\nimport thing._core\n", "runs"),
        ("import sys\nif sys.platform != 'win32':\n    raise ImportError('for Windows')\n", "fails"),
        ("import msvcrt\n", "fails"),
        (
            ("try:\n    import winreg\nexcept ImportError:\n    winreg = None\n"
            "if winreg:\n    from . import _core\n"),
            "runs",
        ),
        ("import ctypes\nctypes.windll.kernel32\n", "fails"),
        ("from ctypes import WINFUNCTYPE\n", "fails"),
    ],
)
def test_what_code_imports_by_functions_is_followed(tmp_path, code, outcome):
    assert said(tmp_path, code, {"thing/a.py": ""}) == outcome


_LAZY = "import importlib\ndef __getattr__(name):\n    if name == 'x':\n        {}\n    raise AttributeError(name)\n"


@pytest.mark.parametrize(
    ("code", "others", "outcome"),
    [
        ("from .sub import x\n", {"sub": _LAZY.format("return 1")}, "runs"),
        ("from .sub import y\n", {"sub": _LAZY.format("return 1")}, "fails"),
        ("from .sub import x\n", {"sub": _LAZY.format("import thing._core")}, "fails"),
        (_LAZY.format("import thing._core"), {}, "runs"),
        ("from .data import x\n", {"data/x": ""}, "runs"),
        ("from .data import y\n", {"data/x": ""}, "fails"),
        ("from .a import x\n", {"a": "y = 1\n"}, "fails"),
        ("from .a import x\n", {"a": "def f():\n    global x\n    x = 1\nf()\n"}, "runs"),
        ("from .a import x\n", {"a": "from .b import *\n", "b": "x = 1\n"}, "runs"),
        ("from . import a\n", {"a": "from . import b\n", "b": "from . import a\n"}, "runs"),
        ("from . import a\n", {"a": "from .b import y\nx = 1\n", "b": "from .a import x\ny = 1\n"}, "fails"),
        ("from nosuch import *\nfrom .a import x\n", {"a": "x = 1\n", "../nosuch": "y = 1\n"}, "runs"),
        ("import vendored\n", {"../thing.pth": "thing/vendor\n", "vendor/vendored": ""}, "runs"),
    ],
)
def test_a_name_is_in_the_module_that_it_is_imported_from(tmp_path, code, others, outcome):
    places = {name: f"{name}.py" if "pth" not in name else name for name in others}
    paths = {name: place.removeprefix("../") if "../" in place else f"thing/{place}" for name, place in places.items()}
    assert said(tmp_path, code, {paths[name]: text for name, text in others.items()}) == outcome


def test_what_an_extension_module_defines_is_not_asked(tmp_path):
    code = b"from ._core import *\nfrom ._core import x\nfrom . import _core\nimport thing._core\n"
    files = {"thing/__init__.py": code, "thing/_core.cpython-311-arm-linux-gnueabihf.so": make_elf()}
    verification = judge(make_wheel(tmp_path, files))
    question = Question(target="pi-one", release="bookworm", python="3.11")
    (verdict,) = {each.outcome for each in verification.asked(question)}
    assert verdict == "runs"


@pytest.mark.parametrize(
    ("question", "on_64", "on_32"),
    [
        ("sys.version_info >= (3, 8)", "fails", "fails"),
        ("sys.version_info < (3, 8)", "runs", "runs"),
        ("sys.version_info[:2] >= (3, 11)", "fails", "fails"),
        ("sys.version_info.major == 2", "runs", "runs"),
        ("sys.hexversion >= 0x03080000", "fails", "fails"),
        ("sys.maxsize > 2**32", "fails", "runs"),
        ("struct.calcsize('P') * 8 == 32", "runs", "fails"),
        ("ctypes.sizeof(ctypes.c_void_p) == 8", "fails", "runs"),
        ("platform.machine() == 'aarch64'", "fails", "runs"),  # a 32-bit system may have a 64-bit kernel
        ("platform.machine() in ('x86_64', 'AMD64')", "runs", "runs"),
        ("os.uname().machine.startswith('x86')", "runs", "runs"),
        ("os.uname()[4] == 'aarch64'", "fails", "runs"),
    ],
)
def test_what_python_tells_of_itself_decides_what_is_imported(tmp_path, question, on_64, on_32):
    code = f"import ctypes, os, platform, struct, sys\nif {question}:\n    from . import _core\n"
    assert [said(tmp_path, code, bits=bits) for bits in (64, 32)] == [on_64, on_32]


def test_each_python_has_an_ending_of_its_own(tmp_path):
    code = "import sys\nif sys.version_info >= (3, 12):\n    from . import _core\n"
    assert said(tmp_path, code) == "runs"
    assert said(tmp_path, code, python="3.13", release="trixie") == "fails"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("ctypes.cdll.nosuch\n", "unsure"),
        ("cdll['libnosuch.so']\n", "unsure"),
        ("cdll['libc.so.6'].strlen\n", "runs"),
        ("cdll['libc.so.6'].nosuch\n", "unsure"),
        ("cdll.LoadLibrary('libc.so.6')['nosuch']\n", "unsure"),
        ("getattr(CDLL('libc.so.6'), 'nosuch')\n", "unsure"),
        ("getattr(CDLL('libc.so.6'), 'nosuch', None)\n", "runs"),
        ("lib = CDLL('libc.so.6')\nif hasattr(lib, 'nosuch'):\n    lib.nosuch\n", "runs"),
        ("ctypes.c_int.in_dll(CDLL('libc.so.6'), 'nosuch')\n", "unsure"),
        ("ctypes.c_void_p.in_dll(CDLL('libc.so.6'), 'environ')\n", "runs"),
        ("ctypes.c_int.in_dll(ctypes.pythonapi, 'Py_NoSuchFlag')\n", "unsure"),
        ("ctypes.pythonapi.PyNoSuch\n", "unsure"),
        ("try:\n    ctypes.c_int.in_dll(CDLL(None), 'nosuch')\nexcept ValueError:\n    pass\n", "runs"),
        ("try:\n    ctypes.c_int.in_dll(CDLL(None), 'nosuch')\nexcept AttributeError:\n    pass\n", "unsure"),
        ("try:\n    CDLL(None).nosuch\nexcept AttributeError:\n    pass\n", "runs"),
        ("try:\n    CDLL(None).nosuch\nexcept OSError:\n    pass\n", "unsure"),
        ("ctypes.CFUNCTYPE(ctypes.c_int)(('nosuch', CDLL(None)))\n", "unsure"),
        ("try:\n    lib = CDLL('libnosuch.so.9')\nexcept OSError:\n    lib = None\n", "runs"),
        ("try:\n    lib = CDLL('libnosuch.so.9')\nexcept OSError:\n    lib = None\nlib.go\n", "unsure"),
        ("name = ctypes.util.find_library('nosuch')\nlib = CDLL(name) if name else None\n", "runs"),
        ("CDLL(ctypes.util.find_library('nosuch') or 'libc.so.6')\n", "runs"),
        ("CDLL(ctypes.util.find_library('nosuch') or 'libnosuch.so.1')\n", "unsure"),
        ("def load():\n    return CDLL('libnosuch.so.1')\nload()\n", "unsure"),
        ("def load():\n    return CDLL('libc.so.6')\nload().nosuch\n", "unsure"),
        ("import os\nCDLL(os.path.join(os.path.dirname(__file__), 'libnosuch.so'))\n", "unsure"),
    ],
)
def test_a_library_has_what_the_import_looks_up(tmp_path, code, outcome):
    assert said(tmp_path, f"{_CTYPES}{code}") == outcome


def test_a_loop_tries_one_library_after_the_other(tmp_path):
    tried = "    try:\n        lib = CDLL(name)\n        break\n    except OSError:\n        pass\n"
    code = f"{_CTYPES}for name in {{}}:\n{tried}else:\n    raise OSError\n"
    assert said(tmp_path, code.format("('libnosuch.so.1', 'libc.so.6')")) == "runs"
    assert said(tmp_path, code.format("('libnosuch.so.1', 'libnosuch.so.2')")) == "unsure"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nif os.environ.get('X'):\n    from . import _core\n",
        "import os\nfor _ in os.environ:\n    from . import _core\n",
        "from nosuch.things import guard\n_core = None\nif guard():\n    _core.x\n",
        "def f(*, a=1, **more):\n    yield from ()\nx = [each for each in f()]\n",
        "try:\n    unicode\nexcept NameError:\n    unicode = str\n",
        "class A:\n    x = 1\n    def f(self):\n        return self.x\n    y = property(f)\na = A()\na.z = 3\n",
        "x = None\ndef setup():\n    global x\n    x = object()\nsetup()\nx.__class__\n",
        "import sys\nsys.modules[__name__].later = 1\nfrom thing import later\n",
        "globals()['later'] = 1\nfrom thing import later\n",
        "from .a import *\nfrom .a import x\nx.y if x else None\n",
    ],
)
def test_code_that_works_or_is_not_known_to_fail_runs(tmp_path, code):
    metadata = "sys.path.append('elsewhere')"  # another package may bring modules
    assert said(tmp_path, f"import sys\n{metadata}\n{code}", {"thing/a.py": "x = None\n"}) == "runs"
