import pytest

from pibuild.verify.imports.import_graph import ImportGraph

_CORE = "pkg._core"


def use(code, *, module=_CORE, failure="broken", **others):
    """Return how `pkg/__init__.py` with this code uses a module; others are further files of the package."""
    sources = {"pkg/__init__.py": code.encode()}
    sources |= {f"pkg/{name}.py": text.encode() for name, text in others.items()}
    return ImportGraph(sources, ["pkg"], [module]).use(module, failure)


@pytest.mark.parametrize(
    "code",
    [
        "import pkg._core",
        "from pkg import _core",
        "from . import _core",
        "from ._core import thing",
        "from ._core import *",
        "import os, pkg._core as core",
        "if True:\n  from . import _core",
        "if not TYPE_CHECKING:\n  from . import _core",
        "if sys.platform == 'linux':\n  from . import _core",
        "if sys.platform == 'win32':\n  pass\nelse:\n  from . import _core",
        "class A:\n  from ._core import b",
        "with open('x') as f:\n  from . import _core",
        "try:\n  from . import _core\nfinally:\n  pass",
        "try:\n  from . import _core\nexcept ValueError:\n  pass",
        "try:\n  from . import _core\nexcept ImportError as e:\n  raise ImportError('rebuild it') from e",
        "core = importlib.import_module('._core', __package__)",
        "__import__('pkg._core')",
    ],
)
def test_what_is_imported_at_once_is_certain(code):
    assert use(code) == "certain"


@pytest.mark.parametrize(
    "code",
    [
        "try:\n  from . import _core\nexcept ImportError:\n  _core = None",
        "try:\n  from ._core import a\nexcept (ValueError, ImportError):\n  pass",
        "try:\n  from . import _core\nexcept:\n  pass",
        "try:\n  import pkg._core\nexcept Exception as e:\n  print(e)",
        "with contextlib.suppress(ImportError):\n  from . import _core",
        "def f():\n  try:\n    from . import _core\n  except ImportError:\n    pass",
    ],
)
def test_what_the_code_goes_on_without_is_guarded(code):
    assert use(code) == "guarded"


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n  from . import _core",
        "async def f():\n  from . import _core",
        "if FAST:\n  from . import _core",
        "if sys.version_info >= (3, 12):\n  from . import _core",
        "for name in names:\n  from . import _core",
        "try:\n  import fast\nexcept ImportError:\n  from . import _core",
        "try:\n  from . import _core\nexcept ImportError:\n  if STRICT:\n    raise",
        "def __getattr__(name):\n  return importlib.import_module('pkg._core')\n\ndef f():\n  import pkg._core",
    ],
)
def test_what_a_condition_or_a_function_imports_is_imported_perhaps(code):
    assert use(code) == "perhaps"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("name = '_core'", "mentioned"),
        ("print 'Python 2'\nfrom . import _core", "mentioned"),
        ("if TYPE_CHECKING:\n  from . import _core", "mentioned"),
        ("if __name__ == '__main__':\n  from . import _core", "mentioned"),
        ("if sys.platform == 'win32':\n  from . import _core", "mentioned"),
        ("", "unused"),
        ("from . import _core2", "unused"),
    ],
)
def test_what_nothing_imports_is_mentioned_or_unused(code, expected):
    assert use(code) == expected


def test_an_import_is_as_strong_as_the_way_to_it():
    assert use("from . import a", a="from . import _core") == "certain"
    assert use("from .a import b", a="from .b import b", b="import pkg._core") == "certain"
    assert use("try:\n  from . import a\nexcept ImportError:\n  pass", a="from . import _core") == "guarded"
    assert use("def f():\n  from . import a", a="from . import _core") == "perhaps"
    assert use("", a="from . import _core") == "perhaps"
    assert use("", a="try:\n  from . import _core\nexcept ImportError:\n  pass") == "guarded"


def test_a_package_is_imported_before_what_is_in_it():
    sources = {
        "pkg/__init__.py": b"import pkg.sub.deep",
        "pkg/sub/__init__.py": b"from . import _c",
        "pkg/sub/deep.py": b"",
    }
    assert ImportGraph(sources, ["pkg"], ["pkg.sub._c"]).use("pkg.sub._c") == "certain"


def test_imports_from_packages_above_are_followed():
    sources = {
        "pkg/__init__.py": b"from .sub import x",
        "pkg/sub/__init__.py": b"from .. import _core\nfrom ..a import b",
    }
    assert ImportGraph(sources, ["pkg"], [_CORE]).use(_CORE) == "certain"


def test_a_file_name_in_code_that_is_reached_is_found():
    sources = {
        "pkg/__init__.py": b"from . import a",
        "pkg/a.py": b"CDLL('adslib.so')",
        "other.py": b"CDLL('unreached.so')",
    }
    graph = ImportGraph(sources, ["pkg"], [])
    assert graph.mentions("adslib.so")
    assert not graph.mentions("unreached.so")


@pytest.mark.parametrize(
    "code",
    [
        b"\0",
        b"\xff\xfe",
        b"(" * 100_000,
        b"-" * 200_000 + b"1",
        b"x = " + b"not " * 100_000 + b"y",
        b"a" + b".a" * 200_000,
        b"import a" + b".a" * 200_000,
        b"1+" * 200_000 + b"1",
        b"if a:\n  b\n" + b"elif a:\n  b\n" * 20_000,
        b"try:\n  a\nexcept ImportError:\n" + b"  b\n" * 50_000,
        b"from " + b"." * 100_000 + b" import x",
        b"import a\n" * 100_000,
        b"lambda: " * 50_000 + b"1",
        b"x[" * 50_000,
        b"f(" * 90 + b")" * 90,
    ],
)
def test_hostile_code_is_read_within_bounds(code):
    sources = {"pkg/__init__.py": code + b"\n_core", "pkg/a.py": code}
    assert ImportGraph(sources, ["pkg"], [_CORE]).use(_CORE) in ("mentioned", "unused")


def test_more_code_than_can_be_parsed_is_not_parsed():
    sources = {f"pkg/a{number}.py": b"x = 1\n" * 100_000 for number in range(40)} | {"pkg/__init__.py": b""}
    assert ImportGraph(sources, ["pkg"], [_CORE]).use(_CORE) == "mentioned"


_TRIED = "try:\n  {}\nexcept {}:\n  pass"


@pytest.mark.parametrize(
    ("code", "missing", "broken", "unloadable"),
    [
        (_TRIED.format("from ._core import a", "ImportError"), "guarded", "guarded", "certain"),
        (_TRIED.format("from ._core import a", "ModuleNotFoundError"), "guarded", "certain", "certain"),
        (_TRIED.format("from . import _core", "ModuleNotFoundError"), "certain", "certain", "certain"),
        (_TRIED.format("from . import _core", "(OSError, ValueError)"), "certain", "certain", "guarded"),
        (_TRIED.format("from . import _core", "Exception"), "guarded", "guarded", "guarded"),
        ("with suppress(ModuleNotFoundError):\n  import pkg._core", "guarded", "certain", "certain"),
        ("with suppress(OSError):\n  import pkg._core", "certain", "certain", "guarded"),
    ],
)
def test_a_handler_guards_against_what_it_catches(code, missing, broken, unloadable):
    told = [use(code, failure=failure) for failure in ("missing", "broken", "unloadable")]
    assert told == [missing, broken, unloadable]


@pytest.mark.parametrize("leave", ["sys.exit(1)", "exit()", "os._exit(3)", "raise SystemExit"])
def test_a_handler_that_ends_python_guards_nothing(leave):
    assert use(f"try:\n  from . import _core\nexcept ImportError:\n  {leave}") == "certain"


@pytest.mark.parametrize(
    "code",
    [
        "try:\n  from . import _core\nexcept ImportError:\n  _core = None\nif _core is None:\n  raise RuntimeError",
        "try:\n  from . import _core\nexcept ImportError:\n  ok = False\nif not ok:\n  sys.exit(1)",
        "try:\n  from . import _core\nexcept ImportError:\n  if sys.flags.dev_mode:\n    sys.exit(1)",
    ],
)
def test_a_guarded_import_that_is_missed_later_is_perhaps_needed(code):
    assert use(code) == "perhaps"


def test_a_condition_above_the_import_is_not_about_it():
    code = "if _core is None:\n  raise RuntimeError\ntry:\n  from . import _core\nexcept ImportError:\n  _core = None"
    assert use(code) == "guarded"


def test_what_a_lambda_imports_is_not_imported_at_once():
    assert use("f = lambda: __import__('pkg._core')") == "mentioned"


_USERS = {
    "pkg/__init__.py": b"__version__ = '1'\n",
    "pkg/api.py": b"from pkg import _core, parts\n",
    "pkg/parts.py": b"",
    "pkg/_private.py": b"",
}


@pytest.mark.parametrize(
    ("changes", "is_needed"),
    [
        ({}, True),
        ({"pkg/other.py": b"from pkg import api\n"}, True),
        ({"pkg/other.py": b"import os\n"}, False),
        ({"pkg/__init__.py": b"def work():\n    pass\n"}, False),
        ({"pkg/__init__.py": b"import os\n"}, False),
        ({"pkg/other.py": b"try:\n    from pkg import api\nexcept ImportError:\n    api = None\n"}, False),
        ({"pkg/api.py": b"if DEBUG:\n    from pkg import _core\n"}, False),
        ({"pkg/api.py": b"", "pkg/_private.py": b"from pkg import _core\n"}, False),
    ],
)
def test_a_module_is_needed_if_all_that_users_can_import_imports_it(changes, is_needed):
    sources = _USERS | changes
    assert ImportGraph(sources, ["pkg"], ["pkg._core"]).is_needed_by_users("pkg._core") == is_needed
