"""What the values in Python code are on import; what really happens: tests/data/crafted_wheels.yaml."""

import pytest

from pibuild.verify.imports.import_values import TOP, ImportValues

_BEGIN = "import ctypes, os, sys, platform\nfrom pathlib import Path\nHERE = os.path.dirname(__file__)\n"
_FILES = {"pkg/__init__.py", "pkg/libpc.so"}
_PATH = f"{TOP}/pkg/libpc.so"


def loads(code, bits=64, **others):
    sources = {"pkg/__init__.py": f"{_BEGIN}{code}\n".encode()}
    sources |= {f"pkg/{name}.py": text.encode() for name, text in others.items()}
    values = ImportValues(sources, _FILES | sources.keys(), bits)
    return [(load.is_certain, str(load.value)) for load in values.module("pkg").loads]


@pytest.mark.parametrize(
    "code",
    [
        "ctypes.CDLL(HERE + '/libpc.so')",
        "ctypes.CDLL(os.path.join(HERE, '..', 'pkg', 'libpc.so'))",
        "import ctypes as c\nc.cdll.LoadLibrary(f'{HERE}/libpc.so')",
        "from ctypes import CDLL as load\nload(Path(__file__).with_name('libpc.so'))",
        "from cffi import FFI\nffi = FFI()\nlib = ffi.dlopen(HERE + '/libpc.so')",
        "if sys.platform.startswith('linux') and os.path.exists(HERE):\n    ctypes.CDLL(HERE + '/libpc.so')",
        "if platform.system() == 'Windows':\n    pass\nelse:\n    ctypes.CDLL(HERE + '/libpc.so')",
        "name = 'pc' if sys.platform in ('linux', 'linux2') else 'mac'\nctypes.CDLL(HERE + f'/lib{name}.so')",
        "if sys.maxsize > 2**32:\n    ctypes.CDLL(HERE + '/libpc.so')",
        "if platform.machine() == 'aarch64':\n    ctypes.CDLL(HERE + '/libpc.so')",
        "def find(name, *, end='.so'):\n    return HERE + '/lib' + name + end\nctypes.CDLL(find('pc', end='.so'))",
        "from pkg.places import LIBRARY\nctypes.CDLL(LIBRARY)",
        "from . import places\nctypes.CDLL(places.find())",
        "try:\n    lib = ctypes.CDLL(HERE + '/libpc.so')\nfinally:\n    pass",
        "while True:\n    ctypes.CDLL(HERE + '/libpc.so')\n    break",
        "for name in ['pc']:\n    ctypes.CDLL(HERE + f'/lib{name}.so')",
    ],
)
def test_a_load_whose_path_the_code_computes_is_certain(code):
    places = (
        "import os\nLIBRARY = os.path.join(os.path.dirname(__file__), 'libpc.so')\ndef find():\n    return LIBRARY\n"
    )
    found = loads(code, places=places)
    assert [is_certain for is_certain, _ in found] == [True]
    assert found[0][1].replace("pkg/../", "") == _PATH


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    ctypes.CDLL(HERE + '/libpc.so')\nexcept OSError:\n    pass",
        "if os.environ.get('X'):\n    ctypes.CDLL(HERE + '/libpc.so')",
        "if os.environ.get('X'):\n    raise ImportError\nctypes.CDLL(HERE + '/libpc.so')",
        "lib = os.environ.get('X') or ctypes.CDLL(HERE + '/libpc.so')",
        "import subprocess\nsubprocess.run(['make'])\nctypes.CDLL(HERE + '/libpc.so')",
        "[ctypes.CDLL(HERE + '/libpc.so') for each in sys.argv]",
        "def f():\n    for each in sys.argv:\n        return 1\n    ctypes.CDLL(HERE + '/libpc.so')\nf()",
        "def check():\n    if sys.argv:\n        raise RuntimeError\ncheck()\nctypes.CDLL(HERE + '/libpc.so')",
        "if not os.path.exists(HERE + '/libmade.so'):\n    ctypes.CDLL(HERE + '/libpc.so')",
    ],
)
def test_a_load_that_may_not_happen_or_is_caught_is_not_certain(code):
    assert not any(is_certain for is_certain, _ in loads(code))


@pytest.mark.parametrize(
    "code",
    [
        "name = 'libpc.so'\nfor name in sys.argv:\n    pass",
        "name = 'libpc.so'\ntry:\n    import other as name\nexcept ImportError:\n    pass",
        "name = 'libpc.so'\nif sys.argv:\n    name = 'libpi.so'",
        "name = 'libpc.so'\nwith open(__file__) as name:\n    pass",
        "name = 'libpc.so'\ndef change():\n    global name\n    name = 'libpi.so'",
        "name = 'libpc.so'\nfrom other import *",
        "name = 'libpc.so'\n(name := 'libpi.so')",
        "name = 'libpc.so'\ntry:\n    raise OSError\nexcept OSError as name:\n    pass",
        "name = 'libpc.so'\nmatch sys.argv:\n    case [name]:\n        pass",
        "names = {'a': 'libpc.so'}\nnames.update(a='libpi.so')\nname = names['a']",
        "def outer():\n    name = 'libpi.so'\n    def f():\n        return name\n    return f()\nname = outer()",
        "name = ''.join(map(str, ['libpc.so']))",
        "import platform\nname = 'libpc.so' if platform.machine() == 'x' else 'libpi.so'",
    ],
)
def test_a_name_that_other_code_may_set_is_not_known(code):
    found = loads(f"{code}\nctypes.CDLL(os.path.join(HERE, name))", bits=32)
    assert [value for _, value in found] != [_PATH]


def test_code_beyond_the_limits_is_not_known():
    many = "\n".join(f"a{number} = {number}" for number in range(200_000 // 12))
    assert loads(f"{many}\nctypes.CDLL(HERE + '/libpc.so')") == []
    calls = "def f0():\n    return 1\n" + "".join(
        f"def f{number}():\n    return f{number - 1}() or f{number - 1}()\n" for number in range(1, 30)
    )
    assert loads(f"{calls}\nf29()\nctypes.CDLL(HERE + '/libpc.so')") == [(True, _PATH)]
    assert loads("def f():\n    return f()\nf()\n" * 30_000) == []
