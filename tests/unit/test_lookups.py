"""What an import falls back on, and what it looks up in the system's libraries; the truth is Python 3.11's."""

import pytest

from pibuild.verify.findings import worst_outcome
from pibuild.verify.judge import Question, judge
from tests.makers.wheels import make_wheel

_CTYPES = "import ctypes, ctypes.util\n"
_NESTED = (
    "try:\n    from . import _fast\nexcept ImportError:\n"
    "    try:\n        from . import _slow\n    except ImportError:\n        {}\n"
)
_SEARCH = f"{_CTYPES}lib = ctypes.CDLL(ctypes.util.find_library('{{}}'))\n"


def said(folder, code, **changes):
    file_name = "thing-1.0-py3-none-any.whl"
    files = {"thing/__init__.py": code.encode()}
    verification = judge(make_wheel(folder, files, file_name=file_name, tags=("py3-none-any",), **changes))
    verdicts = verification.asked(Question(release="bookworm", python="3.11"))
    return worst_outcome(finding for verdict in verdicts for finding in verdict.findings)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("try:\n    import nosuch\nexcept ImportError:\n    import json\n", "runs"),
        ("try:\n    import nosuch\nexcept ImportError:\n    import other\n", "unsure"),
        ("try:\n    import json\nexcept ImportError:\n    import other\n", "runs"),
        ("try:\n    from . import _fast\nexcept ImportError:\n    from . import _slow\n", "fails"),
        ("try:\n    from . import _fast\nexcept ImportError:\n    _fast = None\n", "runs"),
        ("try:\n    from . import _fast\nexcept ImportError:\n    assert False\n", "fails"),
        (_NESTED.format("_slow = None"), "runs"),
        (_NESTED.format("raise"), "fails"),
        ("import nosuch\n", "unsure"),
        ("import sys\nsys.path.insert(0, '/opt/nosuch')\nimport nosuch\n", "runs"),
    ],
)
def test_what_an_import_falls_back_on_must_be_there(tmp_path, code, outcome):
    assert said(tmp_path, code) == outcome


def test_a_package_that_the_wheel_requires_may_bring_a_module(tmp_path):
    metadata = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nRequires-Dist: something\n"
    assert said(tmp_path, "import nosuch\n", metadata=metadata) == "runs"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (_SEARCH.format("m"), "runs"),
        (f"{_SEARCH.format('m')}lib.cos\n", "runs"),
        (f"{_SEARCH.format('c')}lib.nosuch\n", "unsure"),
        (f"{_SEARCH.format('nosuch')}lib.go.restype = ctypes.c_int\n", "unsure"),
        (f"{_CTYPES}if ctypes.util.find_library('nosuch') is None:\n    raise ImportError\n", "unsure"),
        (f"{_CTYPES}name = ctypes.util.find_library('nosuch')\nif name is None:\n    raise ImportError\n", "unsure"),
        (f"{_CTYPES}try:\n    lib = ctypes.CDLL('nosuch.so')\nexcept OSError:\n    pass\n", "runs"),
        (f"{_CTYPES}lib = ctypes.CDLL(None)\nlib.strlen\nlib.PyLong_FromLong\n", "runs"),
        (f"{_CTYPES}lib = ctypes.CDLL(None)\nlib.nosuch\n", "unsure"),
        (f"{_CTYPES}lib = ctypes.CDLL('libc.so.6')\nlib.strlen\nlib._handle\n", "runs"),
        (f"{_CTYPES}lib = ctypes.CDLL('libc.so.6')\ndef go():\n    return lib.nosuch\n", "runs"),
        (f"{_CTYPES}lib = ctypes.CDLL('libc.so.6')\nlib = object\nlib.nosuch\n", "runs"),
    ],
)
def test_what_an_import_looks_up_must_be_in_the_library(tmp_path, code, outcome):
    assert said(tmp_path, code) == outcome
