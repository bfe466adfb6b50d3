"""Wheels that are each about one thing: where code hides, what a loader finds, what Python and pip look for.

What really happens with each was found by running: tests/data/crafted_wheels.yaml. No compiler is needed to make them.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.makers.assembly import (
    CREATE,
    Address,
    Assembly,
    Bits,
    Branch,
    Datum,
    Function,
    Import,
    Item,
    Pointer,
    Shape,
    assemble_object,
    init_function,
    module_data,
)
from tests.makers.elfs import PI_TWO, make_elf
from tests.makers.wheels import make_wheel

ARM = "cp37-abi3-linux_armv6l.linux_armv7l"
"""The tag of wheels for all Pis with 32 bits."""
ARM64 = "cp37-abi3-linux_aarch64"
MODULE = "demo.abi3.so"
A32, A64 = Assembly(32), Assembly(64)
NEON = 0xF2000840
"""vadd.i8 d0, d0, d0"""
NEON_TEN = [NEON] * 10
LSE: list[Item] = [0x52800001, 0xB82103E1]
"""mov w1, #0; ldadd w1, w1, [sp]"""
AUXVAL = Import(name="getauxval", library="libc.so.6", version="GLIBC_2.16")
AUXVAL64 = Import(name="getauxval", library="libc.so.6", version="GLIBC_2.17")
LONG = Import(name="PyLong_FromLong")
NEON_BIT, VFPV3_BIT, ATOMICS_BIT, CRC32_BIT, DOT_BIT = 12, 13, 8, 7, 20
"""Bits of AT_HWCAP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CraftedWheel:
    """A wheel about one thing."""

    name: str
    kind: str
    """The check of `verify` that it is about: `cpu`, `loader`, `symbols`, `pages`, `python`, `pip`."""
    files: Mapping[str, bytes]
    tag: str = ARM
    metadata: str = ""
    exercise: str = "import demo"
    """The Python code, or with `!` the program, that tells whether it runs."""

    @property
    def distribution(self) -> str:
        """Return the name of the distribution, which has no hyphen."""
        return self.name.replace("-", "_")

    @property
    def file_name(self) -> str:
        """Return the name of the wheel's file."""
        return f"{self.distribution}-1.0-{self.tag}.whl"

    @property
    def sha256(self) -> str:
        """Return the hash of everything that the truth depends on."""
        parts = [self.file_name, self.metadata, self.exercise]
        digest = hashlib.sha256("\0".join(parts).encode())
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
        return digest.hexdigest()

    def write(self, folder: Path) -> Path:
        """Write the wheel."""
        python, abi, platforms = self.tag.split("-")
        tags = [f"{p}-{a}-{m}" for p in python.split(".") for a in abi.split(".") for m in platforms.split(".")]
        about = f"Metadata-Version: 2.1\nName: {self.distribution}\nVersion: 1.0\n{self.metadata}"
        return make_wheel(
            folder,
            self.files,
            file_name=self.file_name,
            tags=tags,
            purelib="true" if platforms == "any" else "false",
            metadata=about,
            dist_info=f"{self.distribution}-1.0.dist-info",
        )


def crafted_wheels() -> list[CraftedWheel]:
    """Return all of them."""
    return [
        *_hidden_code(),
        *_questions(),
        *_instructions(),
        *_instructions64(),
        *_libraries(),
        *_symbols(),
        *_loading(),
        *_modules(),
        *_tags(),
        *_guards(),
        *_computed_loads(),
        *_archives(),
        *_headers(),
        *_strange_calls(),
        *_strange_files(),
    ]


def _module(
    bits: Bits = 32,
    body: Sequence[Item] = (),
    *,
    functions: Sequence[Function] = (),
    imports: Sequence[Import] = (),
    data: Mapping[str, Sequence[Datum]] | None = None,
    methods: Iterable[tuple[str, str]] = (),
    shape: Shape | None = None,
    name: str = "demo",
) -> bytes:
    """Return a Python module whose init function creates it, then does `body`."""
    held = module_data(name, methods) | dict(data or {})
    init = init_function(bits, body, f"PyInit_{name}")
    return assemble_object(bits, [init, *functions], data=held, imports=[CREATE, *imports], shape=shape)


def _library(
    functions: Sequence[Function], bits: Bits = 32, *, imports: Sequence[Import] = (), shape: Shape | None = None
) -> bytes:
    """Return a library that is no module."""
    return assemble_object(bits, functions, imports=imports, shape=shape)


def _leaf(
    name: str, code: Sequence[Item] = (), bits: Bits = 32, *, is_exported: bool = False, version: str = ""
) -> Function:
    """Return a function that calls nothing."""
    leave = Assembly(bits).leave
    return Function(name=name, code=[*code, *leave], is_exported=is_exported, version=version)


def _method(name: str, code: Sequence[Item], bits: Bits = 32) -> Function:
    """Return a function that Python calls: it does something, and returns a number."""
    a = Assembly(bits)
    return Function(name=name, code=[*a.begin, *code, *a.number(0, 7), *a.call_import("PyLong_FromLong"), *a.end])


def _wheel(name: str, kind: str, content: bytes, *, tag: str = ARM, exercise: str = "import demo") -> CraftedWheel:
    return CraftedWheel(name=name, kind=kind, files={MODULE: content}, tag=tag, exercise=exercise)


_CALL_INNER = [*A32.call_import("inner")]
_INNER = Import(name="inner")


def _hidden_code() -> list[CraftedWheel]:
    """Return wheels whose code beyond ARMv6 stands where a reader can miss it."""
    a = A32
    neon = _leaf("hidden", NEON_TEN)
    use = "import demo; demo.work()"
    return [
        _wheel("neon-in-init", "cpu", _module(body=NEON_TEN)),
        _wheel("neon-in-call", "cpu", _module(body=a.call("hidden"), functions=[neon])),
        _wheel("neon-one-instruction", "cpu", _module(body=a.call("hidden"), functions=[_leaf("hidden", [NEON])])),
        _wheel(
            "neon-behind-method-table",
            "cpu",
            _module(functions=[_method("work", NEON_TEN)], imports=[LONG], methods=[("work", "work")]),
            exercise=use,
        ),
        _wheel(
            "neon-behind-method-table-stripped",
            "cpu",
            _module(
                functions=[_method("work", NEON_TEN)],
                imports=[LONG],
                methods=[("work", "work")],
                shape=Shape(has_marks=False),
            ),
            exercise=use,
        ),
        _wheel(
            "neon-without-sections",
            "cpu",
            _module(
                functions=[_method("work", NEON_TEN)],
                imports=[LONG],
                methods=[("work", "work")],
                shape=Shape(has_sections=False),
            ),
            exercise=use,
        ),
        _wheel("neon-in-constructor", "cpu", _module(functions=[neon], shape=Shape(constructors=["hidden"]))),
        _wheel(
            "neon-in-constructor-stripped",
            "cpu",
            _module(functions=[neon], shape=Shape(constructors=["hidden"], has_marks=False)),
        ),
        _wheel("neon-in-dt-init", "cpu", _module(functions=[neon], shape=Shape(init="hidden"))),
        _wheel("neon-in-destructor", "cpu", _module(functions=[neon], shape=Shape(destructors=["hidden"]))),
        _wheel(
            "neon-in-resolver",
            "cpu",
            _module(
                body=[*a.load(3, "got:ifunc:resolver"), *a.call_pointer(3)],
                functions=[
                    _leaf("chosen"),
                    Function(name="resolver", code=[*NEON_TEN, *a.address(0, "chosen"), *a.leave], symbol_type=10),
                ],
            ),
        ),
        _wheel(
            "neon-behind-pointer-in-data",
            "cpu",
            _module(
                body=[*a.load(3, "table"), *a.call_pointer(3)], functions=[neon], data={"table": [Pointer("hidden")]}
            ),
        ),
        _wheel(
            "neon-behind-computed-pointer",
            "cpu",
            _module(body=[*a.address(3, "hidden"), *a.call_pointer(3)], functions=[replace(neon, is_named=False)]),
        ),
        _wheel(
            "neon-behind-callback",
            "cpu",
            _module(
                body=[*a.address(0, "hidden"), *a.call_import("Py_AtExit")],
                functions=[replace(neon, is_named=False)],
                imports=[Import(name="Py_AtExit")],
            ),
        ),
        _wheel(
            "neon-behind-tail-branch",
            "cpu",
            _module(
                body=a.call("first"),
                functions=[Function(name="first", code=a.jump("second")), _leaf("second", NEON_TEN)],
            ),
        ),
        _wheel(
            "neon-behind-jump-table",
            "cpu",
            _module(
                # mov r3, #1; add pc, pc, r3, lsl #2; nop; b; b
                body=a.call("switch"),
                functions=[
                    Function(
                        name="switch",
                        code=[
                            0xE3A03001,
                            0xE08FF103,
                            0xE1A00000,
                            Branch(0xEA000000, "plain"),
                            Branch(0xEA000000, "hidden"),
                        ],
                    ),
                    _leaf("plain"),
                    neon,
                ],
            ),
        ),
        _wheel(
            "neon-without-type",
            "cpu",
            _module(
                body=a.call("plain"),
                functions=[replace(_leaf("plain", NEON_TEN, is_exported=True), symbol_type=0)],
                shape=Shape(has_marks=False),
            ),
        ),
        _wheel("neon-marked-as-data", "cpu", _module(body=a.call("hidden"), functions=[replace(neon, mark="$d")])),
        _wheel(
            "neon-unmarked-section",
            "cpu",
            _module(body=a.call("hidden"), functions=[replace(neon, mark="none", section="mytext", is_named=False)]),
        ),
        _wheel(
            "neon-in-rodata",
            "cpu",
            _module(body=a.call("hidden"), functions=[replace(neon, section=".rodata", mark="none")]),
        ),
        _wheel(
            "neon-outside-of-sections",
            "cpu",
            _module(body=a.call("hidden"), functions=[replace(neon, section="", mark="none")]),
        ),
        _wheel(
            "neon-outside-of-sections-by-pointer",
            "cpu",
            _module(
                body=[*a.load(3, "table"), *a.call_pointer(3)],
                functions=[replace(neon, section="", mark="none")],
                data={"table": [Pointer("hidden")]},
            ),
        ),
        _wheel(
            "thumb2-behind-blx",
            "cpu",
            _module(
                body=[Branch(0xFA000000, "small")],
                functions=[Function(name="small", code=[bytes.fromhex("40f20100 7047 c046")], is_thumb=True)],
            ),
        ),
        _wheel(
            "thumb1-behind-blx",
            "cpu",
            _module(
                body=[Branch(0xFA000000, "small")],
                functions=[Function(name="small", code=[bytes.fromhex("0120 7047")], is_thumb=True)],
            ),
        ),
        _wheel(
            "neon-behind-type-slot",
            "cpu",
            _module(
                body=[
                    *a.address(0, "spec"),
                    *a.call_import("PyType_FromSpec"),
                    0xE1A02000,
                    0xE1A00004,
                    *a.address(1, "type"),
                    *a.call_import("PyModule_AddObject"),
                ],
                functions=[_method("new", NEON_TEN)],
                imports=[LONG, Import(name="PyType_FromSpec"), Import(name="PyModule_AddObject")],
                data={
                    "type": [b"T\0\0\0\0\0\0\0"],
                    "title": [b"demo.T\0\0"],
                    "slots": [65, Pointer("new"), 0, 0],  # Py_tp_new
                    "spec": [Pointer("title"), 8, 0, 0, Pointer("slots")],
                },
            ),
            exercise="import demo; demo.T()",
        ),
        _wheel("neon-never-reached", "cpu", _module(functions=[neon])),
        _wheel("neon-as-data", "cpu", _module(data={"table": [NEON] * 40})),
        CraftedWheel(
            name="neon-in-library",
            kind="cpu",
            files={
                "demo.abi3.so": _module(
                    body=_CALL_INNER,
                    imports=[_INNER],
                    shape=Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN"),
                ),
                "libinner.so.1": _library(
                    [_leaf("inner", NEON_TEN, is_exported=True)], shape=Shape(soname="libinner.so.1")
                ),
            },
        ),
        CraftedWheel(
            name="neon-in-constructor-of-library",
            kind="cpu",
            files={
                "demo.abi3.so": _module(shape=Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN")),
                "libinner.so.1": _library(
                    [_leaf("inner", NEON_TEN)], shape=Shape(soname="libinner.so.1", constructors=["inner"])
                ),
            },
        ),
        CraftedWheel(
            name="neon-in-resolver-of-library",
            kind="cpu",
            files={
                "demo.abi3.so": _module(
                    body=_CALL_INNER,
                    imports=[_INNER],
                    shape=Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN"),
                ),
                "libinner.so.1": _library(
                    [
                        _leaf("chosen"),
                        Function(
                            name="inner",
                            code=[*NEON_TEN, *a.address(0, "chosen"), *a.leave],
                            symbol_type=10,
                            is_exported=True,
                        ),
                    ],
                    shape=Shape(soname="libinner.so.1"),
                ),
            },
        ),
        CraftedWheel(
            name="neon-behind-ctypes",
            kind="cpu",
            files={
                "demo/__init__.py": b"import ctypes, os\n"
                b"work = ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'libwork.so')).inner\n",
                "demo/libwork.so": _library([_leaf("inner", NEON_TEN, is_exported=True)]),
            },
            tag="py3-none-linux_armv6l.linux_armv7l",
            exercise=use,
        ),
        CraftedWheel(
            name="neon-in-program",
            kind="cpu",
            files={"neon_in_program-1.0.data/scripts/tool": _program(NEON_TEN)},
            tag="py3-none-linux_armv6l.linux_armv7l",
            exercise="!tool",
        ),
        CraftedWheel(
            name="plain-program",
            kind="cpu",
            files={"plain_program-1.0.data/scripts/tool": _program()},
            tag="py3-none-linux_armv6l.linux_armv7l",
            exercise="!tool",
        ),
        _wheel("plain", "cpu", _module()),
        _wheel("plain-stripped", "cpu", _module(shape=Shape(has_marks=False))),
    ]


def _program(code: Sequence[Item] = (), interpreter: str = "/lib/ld-linux-armhf.so.3", **about: object) -> bytes:
    """Return a program that ends at once with 0."""
    start = Function(name="_start", code=[*code, 0xE3A00000, 0xE3A07001, 0xEF000000])  # exit(0)
    shape = Shape(interpreter=interpreter)
    return assemble_object(32, [start], shape=replace(shape, **about))  # type: ignore[arg-type]


def _asked(bit: int, code: Sequence[Item], bits: Bits = 32, *, is_inverted: bool = False, kind: int = 16) -> list[Item]:
    """Return code that runs if getauxval's answer has a bit."""
    a = Assembly(bits)
    count = sum(2 if isinstance(item, Address) else 1 for item in code)
    skip = a.skip_if_bit(bit, count) if is_inverted else a.skip_unless_bit(bit, count)
    return [*a.number(0, kind), *a.call_import("getauxval"), *skip, *code]


def _questions() -> list[CraftedWheel]:
    """Return wheels that ask the CPU what it can do, rightly or not."""
    a = A32
    neon = _leaf("hidden", NEON_TEN)
    ask = [AUXVAL]
    inner = Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN")

    def answering(code: Sequence[Item], imports: Sequence[Import]) -> bytes:
        made = Function(name="inner", code=[*a.begin, *code, *a.end], is_exported=True)
        return _library([made], imports=imports, shape=Shape(soname="libinner.so.1"))

    # mov r0, r0, lsr #12; and r0, r0, #1
    has_neon = [*a.number(0, 16), *a.call_import("getauxval"), 0xE1A00620, 0xE2000001]
    return [
        _wheel("asks-inline", "cpu", _module(body=_asked(NEON_BIT, NEON_TEN), imports=ask)),
        _wheel(
            "asks-then-calls", "cpu", _module(body=_asked(NEON_BIT, a.call("hidden")), functions=[neon], imports=ask)
        ),
        _wheel(
            "asks-and-ignores",
            "cpu",
            _module(
                body=[*a.number(0, 16), *a.call_import("getauxval"), *a.call("hidden")], functions=[neon], imports=ask
            ),
        ),
        _wheel("asks-for-another-bit", "cpu", _module(body=_asked(0, a.call("hidden")), functions=[neon], imports=ask)),
        _wheel(
            "asks-the-wrong-way-round",
            "cpu",
            _module(body=_asked(NEON_BIT, a.call("hidden"), is_inverted=True), functions=[neon], imports=ask),
        ),
        _wheel(
            "asks-after-it-ran",
            "cpu",
            _module(body=[*a.call("hidden"), *_asked(NEON_BIT, a.call("hidden"))], functions=[neon], imports=ask),
        ),
        _wheel(
            "asks-another-vector",
            "cpu",
            _module(body=_asked(NEON_BIT, a.call("hidden"), kind=26), functions=[neon], imports=ask),
        ),
        _wheel(
            "asks-once-and-also-without",
            "cpu",
            _module(
                body=_asked(NEON_BIT, a.call("hidden")),
                functions=[neon, _method("work", a.call("hidden"))],
                imports=[*ask, LONG],
                methods=[("work", "work")],
            ),
            exercise="import demo; demo.work()",
        ),
        _wheel(
            "asks-and-keeps-the-answer",
            "cpu",
            _module(
                body=[
                    *has_neon,
                    *a.address(3, "flag"),
                    0xE5830000,
                    *a.load(0, "flag"),
                    *a.skip_unless_bit(0, 1),
                    *a.call("hidden"),
                ],
                functions=[neon],
                imports=ask,
                data={"flag": [0]},
            ),
        ),
        _wheel(
            "asks-and-sets-a-pointer",
            "cpu",
            _module(
                # the pointer is that of the plain function unless there is NEON
                body=[
                    *_asked(NEON_BIT, [*a.address(2, "hidden"), *a.address(3, "pointer"), 0xE5832000], kind=16),
                    *a.load(3, "pointer"),
                    *a.call_pointer(3),
                ],
                functions=[neon, _leaf("plain")],
                imports=ask,
                data={"pointer": [Pointer("plain")]},
            ),
        ),
        _wheel(
            "asks-in-resolver",
            "cpu",
            _module(
                # the loader gives AT_HWCAP to an IFUNC's resolver
                body=[*a.load(3, "got:ifunc:resolver"), *a.call_pointer(3)],
                functions=[
                    _leaf("plain"),
                    neon,
                    Function(
                        name="resolver",
                        symbol_type=10,
                        code=[
                            0xE1A01000,
                            *a.address(2, "plain"),
                            0xE1A00001,
                            *a.skip_unless_bit(NEON_BIT, 2),
                            *a.address(2, "hidden"),
                            0xE1A00002,
                            *a.leave,
                        ],
                    ),
                ],
            ),
        ),
        CraftedWheel(
            name="asks-by-library",
            kind="cpu",
            files={
                MODULE: _module(
                    body=[*_CALL_INNER, *a.skip_unless_bit(0, 1), *a.call("hidden")],
                    functions=[neon],
                    imports=[_INNER],
                    shape=inner,
                ),
                "libinner.so.1": answering(has_neon, ask),
            },
        ),
        CraftedWheel(
            name="asks-by-library-that-nobody-calls",
            kind="cpu",
            files={
                MODULE: _module(body=a.call("hidden"), functions=[neon], shape=inner),
                "libinner.so.1": answering(has_neon, ask),
            },
        ),
        CraftedWheel(
            name="asks-by-stranger",
            kind="cpu",
            files={MODULE: _module(body=a.call("hidden"), functions=[neon]), "libinner.so.1": answering(has_neon, ask)},
        ),
        CraftedWheel(
            name="text-of-cpuinfo-beside",
            kind="cpu",
            files={
                MODULE: _module(body=a.call("hidden"), functions=[neon]),
                "other.abi3.so": _module(name="other", data={"text": [b"/proc/cpuinfo\0neon\0\0\0\0\0\0"]}),
            },
        ),
        _wheel(
            "text-of-cpuinfo-within",
            "cpu",
            _module(body=a.call("hidden"), functions=[neon], data={"text": [b"/proc/cpuinfo\0neon\0\0\0\0\0\0"]}),
        ),
        _wheel("lse-inline", "cpu", _module(64, LSE), tag=ARM64),
        _wheel("lse-asked", "cpu", _module(64, _asked(ATOMICS_BIT, LSE, 64), imports=[AUXVAL64]), tag=ARM64),
        _wheel("lse-asked-for-crc32", "cpu", _module(64, _asked(CRC32_BIT, LSE, 64), imports=[AUXVAL64]), tag=ARM64),
        _wheel(
            "lse-asked-elsewhere",
            "cpu",
            _module(
                64,
                LSE,
                functions=[
                    Function(
                        name="asks", is_exported=True, code=[*A64.begin, *_asked(CRC32_BIT, [0xD503201F], 64), *A64.end]
                    )
                ],
                imports=[AUXVAL64],
            ),
            tag=ARM64,
        ),
        _wheel(
            "lse-asked-and-ignored",
            "cpu",
            _module(64, [*A64.number(0, 16), *A64.call_import("getauxval"), *LSE], imports=[AUXVAL64]),
            tag=ARM64,
        ),
        _wheel("lse-in-helper", "cpu", _lse_helper(is_right=True), tag=ARM64),
        _wheel("lse-in-false-helper", "cpu", _lse_helper(is_right=False), tag=ARM64),
        _wheel(
            "dot-product-asked", "cpu", _module(64, _asked(DOT_BIT, [0x4E829420], 64), imports=[AUXVAL64]), tag=ARM64
        ),
        _wheel(
            "dot-product-asked-for-atomics",
            "cpu",
            _module(64, _asked(ATOMICS_BIT, [0x4E829420], 64), imports=[AUXVAL64]),
            tag=ARM64,
        ),
        _wheel("sve-asked", "cpu", _module(64, _asked(22, [0x2518E3E0], 64), imports=[AUXVAL64]), tag=ARM64),
        _wheel(
            "sve-asked-for-dot-product",
            "cpu",
            _module(64, _asked(DOT_BIT, [0x2518E3E0], 64), imports=[AUXVAL64]),
            tag=ARM64,
        ),
    ]


def _lse_helper(*, is_right: bool) -> bytes:
    """Return a module with a function like GCC's outlined atomics; a false one has its name and asks nothing."""
    a = A64
    constructor = Function(
        name="init_have_lse_atomics",
        code=[
            *a.begin,
            *a.number(0, 16),
            *a.call_import("getauxval"),
            0x53082000,  # ubfx w0, w0, #8, #1
            *a.address(3, "__aarch64_have_lse_atomics"),
            0x39000060,
            *a.end,
        ],
    )  # strb w0, [x3]
    # adrp, add; ldrb w16, [x16]; cbz w16, +12; ldadd w0, w0, [x1]; ret
    # ldxr w16, [x1]; add w17, w16, w0; stxr w15, w17, [x1]; cbnz; mov; ret
    question: list[Item] = [*a.address(16, "__aarch64_have_lse_atomics"), 0x39400210, 0x34000070]
    plain = [0x885F7C30, 0x0B000211, 0x880F7C31, 0x35FFFFAF, 0x2A1003E0, 0xD65F03C0]
    helper = Function(name="__aarch64_ldadd4_relax", code=[*question * is_right, 0xB8200020, 0xD65F03C0, *plain])
    body = [*a.number(0, 1), *a.address(1, "counter"), *a.call("__aarch64_ldadd4_relax")]
    return _module(
        64,
        body,
        functions=[constructor, helper],
        imports=[AUXVAL64],
        shape=Shape(constructors=["init_have_lse_atomics"]),
        data={"__aarch64_have_lse_atomics": [0], "counter": [0]},
    )


def _instructions() -> list[CraftedWheel]:
    """Return wheels with one instruction of ARM that some Pis lack or all have."""
    words: dict[str, list[Item]] = {
        "movw": [0xE3003001],
        "ubfx": [0xE7E03053],
        "rbit": [0xE6FF3F33],
        "dmb": [0xF57FF05B],
        "barrier-by-cp15": [0xE3A03000, 0xEE073FBA],
        "clrex": [0xF57FF01F],
        "ldrexd": [0xE1BD2F9F],
        "pli": [0xF4DDF000],
        "idiv": [0xE3A03001, 0xE713F313],
        "vfpv2": [0xEE300A00],
        "vfpv3-immediate": [0xEEB70A00],
        "vfp-d16": [0xEEF00B61],
        "vfpv4-fma": [0xEEA00A00],
        "crc32": [0xE1033043],
        "vmaxnm": [0xFE800A00],
        "lda": [0xE19D3C9F],
        "vsdot": [0xFC200D00],
        "hint-csdb": [0xE320F014],
    }
    tag = "cp37-abi3-linux_armv6l.linux_armv7l"
    made = [_wheel(f"arm-{name}", "cpu", _module(body=code), tag=tag) for name, code in words.items()]
    unwind = _leaf("__gnu_Unwind_Restore_VFP_D_16_to_31", [0xECD00B20])
    save = _leaf("__gnu_Unwind_Save_VFP_D_16_to_31", [0xECC00B20])
    made.append(_wheel("unwinder-not-called", "cpu", _module(functions=[unwind, save])))
    made.append(
        _wheel(
            "unwinder-stripped",
            "cpu",
            _module(
                functions=[
                    unwind,
                    save,
                    Function(name="caller", code=[*A32.begin, *_asked(VFPV3_BIT, A32.call(unwind.name)), *A32.end]),
                ],
                imports=[AUXVAL],
                shape=Shape(has_marks=False),
            ),
        )
    )
    return made


def _instructions64() -> list[CraftedWheel]:
    """Return wheels with one instruction of AArch64 that some Pis lack or all have."""
    words: dict[str, list[Item]] = {
        "crc32": [0x1AC14000],
        "fp16": [0x1EE22820],
        "sdot": [0x4E829420],
        "rdm": [0x2E428420],
        "ldapr": [0xB8BFC3E1],
        "cas": [0x52800001, 0x52800002, 0x88A17FE2],
        "swp": [0xD10043FF, 0xB82183E1, 0x910043FF],
        "paciasp": [0xD503233F, 0xD50323BF],
        "bti": [0xD503245F],
        "sve": [0x2518E3E0],
        "i8mm": [0x4E82A420],
        "bf16": [0x6E42FC20],
        "cfinv": [0xD500401F],
        "sha512": [0xCE628020],
        "irg": [0x9ADF1000],
        "abs-cssc": [0xDAC02000],
        "sme": [0xD503477F],
        "rndr": [0xD53B2401],
        "id-register": [0xD5380601],
        "counter": [0xD53BE041],
    }
    return [_wheel(f"arm64-{name}", "cpu", _module(64, code), tag=ARM64) for name, code in words.items()]


def _pair(
    name: str,
    shape: Shape,
    path: str,
    *,
    kind: str = "loader",
    module: str = MODULE,
    exercise: str = "import demo",
    more: Mapping[str, bytes] | None = None,
) -> CraftedWheel:
    """Return a wheel with a module that needs a library of the wheel."""
    inner = _library([_leaf("inner", is_exported=True)], shape=Shape(soname="libinner.so.1"))
    made = _module(body=_CALL_INNER, imports=[_INNER], shape=replace(shape, needed=("libinner.so.1", "libc.so.6")))
    files = {module: made, path: inner} | dict(more or {})
    return CraftedWheel(name=name, kind=kind, files=files, exercise=exercise)


def _libraries() -> list[CraftedWheel]:
    """Return wheels whose libraries the loader finds or does not find."""
    nothing = {"pkg/__init__.py": b""}
    inner = _library([_leaf("inner", is_exported=True)], shape=Shape(soname="libinner.so.1"))
    middle = Shape(soname="libmiddle.so.1", needed=["libinner.so.1", "libc.so.6"])
    call = Function(name="middle", code=[*A32.begin, *_CALL_INNER, *A32.end], is_exported=True)

    def three(name: str, first: Shape, second: Shape, place: str = "libs/libinner.so.1") -> CraftedWheel:
        return CraftedWheel(
            name=name,
            kind="loader",
            files={
                MODULE: _module(
                    body=A32.call_import("middle"),
                    imports=[Import(name="middle")],
                    shape=replace(first, needed=["libmiddle.so.1", "libc.so.6"]),
                ),
                "libs/libmiddle.so.1": _library([call], imports=[_INNER], shape=second),
                place: inner,
            },
        )

    preload = (
        b"import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), 'libinner.so.1'))\n"
        b"from . import demo\n"
    )
    in_package = "import pkg.demo"
    return [
        _pair("library-without-runpath", Shape(), "libinner.so.1"),
        _pair("library-by-origin", Shape(runpath="$ORIGIN"), "libinner.so.1"),
        _pair("library-by-origin-in-braces", Shape(runpath="${ORIGIN}/demo.libs"), "demo.libs/libinner.so.1"),
        _pair("library-by-second-of-runpath", Shape(runpath="/nowhere:$ORIGIN/demo.libs"), "demo.libs/libinner.so.1"),
        _pair("library-by-lib-token", Shape(runpath="$ORIGIN/$LIB"), "lib/arm-linux-gnueabihf/libinner.so.1"),
        _pair("library-in-folder-of-hwcaps", Shape(runpath="$ORIGIN"), "neon/libinner.so.1"),
        _pair("library-by-other-folder", Shape(runpath="$ORIGIN/lib"), "demo.libs/libinner.so.1"),
        _pair("library-by-relative-runpath", Shape(runpath="demo.libs"), "demo.libs/libinner.so.1"),
        _pair("library-by-rpath", Shape(rpath="$ORIGIN/demo.libs"), "demo.libs/libinner.so.1"),
        _pair(
            "library-by-rpath-beside-runpath",
            Shape(rpath="$ORIGIN/demo.libs", runpath="/nowhere"),
            "demo.libs/libinner.so.1",
        ),
        _pair("library-of-other-name", Shape(runpath="$ORIGIN/demo.libs"), "demo.libs/libinner.so"),
        _pair(
            "library-by-origin-above",
            Shape(runpath="$ORIGIN/../pkg.libs"),
            "pkg.libs/libinner.so.1",
            module="pkg/demo.abi3.so",
            exercise=in_package,
            more=nothing,
        ),
        _pair("library-in-platlib", Shape(runpath="$ORIGIN"), "library_in_platlib-1.0.data/platlib/libinner.so.1"),
        _pair("library-in-data", Shape(runpath="$ORIGIN"), "library_in_data-1.0.data/data/libinner.so.1"),
        _pair(
            "module-and-library-in-platlib",
            Shape(runpath="$ORIGIN/demo.libs"),
            "module_and_library_in_platlib-1.0.data/platlib/demo.libs/libinner.so.1",
            module="module_and_library_in_platlib-1.0.data/platlib/demo.abi3.so",
        ),
        _pair(
            "library-preloaded",
            Shape(),
            "pkg/libinner.so.1",
            module="pkg/demo.abi3.so",
            exercise=in_package,
            more={"pkg/__init__.py": preload},
        ),
        _pair(
            "library-loaded-by-other-module",
            Shape(),
            "pkg/libs/libinner.so.1",
            module="pkg/demo.abi3.so",
            exercise=in_package,
            more={
                "pkg/__init__.py": b"from . import first, demo\n",
                "pkg/first.abi3.so": _module(
                    name="first", shape=Shape(runpath="$ORIGIN/libs", needed=["libinner.so.1", "libc.so.6"])
                ),
            },
        ),
        three("two-libraries-by-runpath-of-first", Shape(runpath="$ORIGIN/libs"), middle),
        three("two-libraries-by-rpath-of-first", Shape(rpath="$ORIGIN/libs"), middle),
        three("two-libraries-by-own-runpath", Shape(runpath="$ORIGIN/libs"), replace(middle, runpath="$ORIGIN")),
        three(
            "two-libraries-by-own-runpath-elsewhere", Shape(rpath="$ORIGIN/libs"), replace(middle, runpath="/nowhere")
        ),
        three(
            "two-libraries-by-runpath-and-rpath-of-first", Shape(rpath="$ORIGIN/libs", runpath="$ORIGIN/libs"), middle
        ),
        CraftedWheel(
            name="library-for-other-machine",
            kind="loader",
            files={
                MODULE: _module(
                    body=_CALL_INNER,
                    imports=[_INNER],
                    shape=Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN"),
                ),
                "libinner.so.1": assemble_object(
                    64, [_leaf("inner", bits=64, is_exported=True)], shape=Shape(soname="libinner.so.1")
                ),
            },
        ),
        CraftedWheel(
            name="library-for-other-machine-first",
            kind="loader",
            files={
                MODULE: _module(
                    body=_CALL_INNER,
                    imports=[_INNER],
                    shape=Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN/a:$ORIGIN/b"),
                ),
                "a/libinner.so.1": assemble_object(
                    64, [_leaf("inner", bits=64, is_exported=True)], shape=Shape(soname="libinner.so.1")
                ),
                "b/libinner.so.1": inner,
            },
        ),
        *(
            _wheel(
                f"system-{soname.split('.so')[0]}-{soname.rsplit('.', 1)[1]}",
                "loader",
                _module(shape=Shape(needed=[soname, "libc.so.6"])),
            )
            for soname in (
                "libz.so.1",
                "libexpat.so.1",
                "libffi.so.6",
                "libpthread.so.0",
                "libgfortran.so.3",
                "libc.musl-armv7.so.1",
            )
        ),
        _wheel("runpath-of-system", "loader", _module(shape=Shape(runpath="/usr/lib/arm-linux-gnueabihf/hdf5/serial"))),
    ]


def _symbols() -> list[CraftedWheel]:
    """Return wheels whose symbols are there or not."""

    def needs(
        name: str, symbol: Import, *, needed: Sequence[str] = ("libc.so.6",), kind: str = "symbols"
    ) -> CraftedWheel:
        return _wheel(name, kind, _module(imports=[symbol], shape=Shape(needed=needed)))

    def of(library: str, name: str, version: str, *, is_weak: bool = False) -> Import:
        return Import(name=name, library=library, version=version, is_weak=is_weak)

    libc, libstdcxx = "libc.so.6", "libstdc++.so.6"
    inner = Import(name="inner", library="libinner.so.1", version="INNER_2")
    versioned = Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN")

    def provides(version: str) -> bytes:
        return _library([_leaf("inner", is_exported=True, version=version)], shape=Shape(soname="libinner.so.1"))

    return [
        needs("symbol-of-nobody", Import(name="nobody_has_this")),
        needs("symbol-of-nobody-weak", Import(name="nobody_has_this", is_weak=True)),
        needs("symbol-of-atomic-without-library", Import(name="__atomic_fetch_add_8")),
        needs(
            "symbol-of-atomic",
            of("libatomic.so.1", "__atomic_fetch_add_8", "LIBATOMIC_1.0"),
            needed=["libatomic.so.1", libc],
        ),
        needs("symbol-of-math-without-library", Import(name="cexp")),
        needs("symbol-of-zlib-without-library", Import(name="deflate")),
        needs("symbol-of-glibc-2-34", of(libc, "__libc_start_main", "GLIBC_2.34")),
        needs("symbol-of-glibc-2-33", of(libc, "stat", "GLIBC_2.33")),
        needs("symbol-of-glibc-2-38", of(libc, "__isoc23_strtol", "GLIBC_2.38")),
        needs("symbol-of-glibc-2-34-pthread", of(libc, "pthread_create", "GLIBC_2.34")),
        needs(
            "symbol-of-old-pthread",
            of("libpthread.so.0", "pthread_create", "GLIBC_2.4"),
            needed=["libpthread.so.0", libc],
        ),
        needs("symbol-of-pthread-in-libc", of(libc, "pthread_create", "GLIBC_2.4")),
        needs("symbol-with-version-of-another", of(libc, "malloc", "GLIBC_2.28")),
        needs("symbol-with-version-that-nobody-has", of(libc, "malloc", "GLIBC_2.99")),
        needs("symbol-private-of-glibc", of(libc, "__libc_dlopen_mode", "GLIBC_PRIVATE")),
        needs("symbol-private-of-glibc-in-all", of(libc, "_dl_sym", "GLIBC_PRIVATE")),
        needs(
            "symbol-of-libstdcxx",
            of(
                libstdcxx,
                "_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE",
                "GLIBCXX_3.4.22",
            ),
            needed=[libstdcxx, libc],
        ),
        needs(
            "symbol-of-libstdcxx-12",
            of(libstdcxx, "_ZSt15__get_once_callv", "GLIBCXX_3.4.11"),
            needed=[libstdcxx, libc],
        ),
        needs(
            "symbol-of-libstdcxx-13",
            of(libstdcxx, "_ZNSt8ios_base4InitD1Ev", "GLIBCXX_3.4.32"),
            needed=[libstdcxx, libc],
        ),
        needs("symbol-of-python-3-10", Import(name="Py_IsNone"), kind="python"),
        needs("symbol-of-python-3-9", Import(name="PyObject_CallNoArgs"), kind="python"),
        needs("symbol-of-python-3-12", Import(name="PyErr_GetRaisedException"), kind="python"),
        needs("symbol-of-python-till-3-12", Import(name="PyEval_CallObjectWithKeywords"), kind="python"),
        needs("symbol-of-python-2", Import(name="PyString_FromString"), kind="python"),
        CraftedWheel(
            name="symbol-version-of-own-library",
            kind="symbols",
            files={MODULE: _module(imports=[inner], shape=versioned), "libinner.so.1": provides("INNER_2")},
        ),
        CraftedWheel(
            name="symbol-version-that-own-library-lacks",
            kind="symbols",
            files={MODULE: _module(imports=[inner], shape=versioned), "libinner.so.1": provides("INNER_1")},
        ),
        CraftedWheel(
            name="symbol-version-of-library-without-versions",
            kind="symbols",
            files={MODULE: _module(imports=[inner], shape=versioned), "libinner.so.1": provides("")},
        ),
        CraftedWheel(
            name="symbol-missing-in-own-library",
            kind="symbols",
            files={MODULE: _module(imports=[Import(name="other")], shape=versioned), "libinner.so.1": provides("")},
        ),
        CraftedWheel(
            name="symbol-of-library-of-library",
            kind="symbols",
            files={
                MODULE: _module(imports=[Import(name="deep")], shape=versioned),
                "libinner.so.1": _library(
                    [_leaf("inner", is_exported=True)],
                    shape=Shape(soname="libinner.so.1", needed=["libdeep.so.1"], runpath="$ORIGIN"),
                ),
                "libdeep.so.1": _library([_leaf("deep", is_exported=True)], shape=Shape(soname="libdeep.so.1")),
            },
        ),
        CraftedWheel(
            name="symbol-of-module-that-is-not-needed",
            kind="symbols",
            files={MODULE: _module(imports=[_INNER]), "libinner.so.1": provides("")},
        ),
        CraftedWheel(
            name="symbol-preloaded-globally",
            kind="symbols",
            exercise="import pkg.demo",
            files={
                "pkg/__init__.py": b"import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), "
                b"'libinner.so.1'), ctypes.RTLD_GLOBAL)\nfrom . import demo\n",
                "pkg/demo.abi3.so": _module(imports=[_INNER]),
                "pkg/libinner.so.1": provides(""),
            },
        ),
        CraftedWheel(
            name="symbol-preloaded-locally",
            kind="symbols",
            exercise="import pkg.demo",
            files={
                "pkg/__init__.py": b"import ctypes, os\n"
                b"ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'libinner.so.1'))\nfrom . import demo\n",
                "pkg/demo.abi3.so": _module(imports=[_INNER]),
                "pkg/libinner.so.1": provides(""),
            },
        ),
        _wheel(
            "version-weak-and-missing",
            "symbols",
            _module(
                imports=[Import(name="nobody_has_this", library=libc, version="GLIBC_2.99", is_weak=True)],
                shape=Shape(weak_versions=["GLIBC_2.99"]),
            ),
        ),
        _wheel(
            "version-missing-of-weak-symbol",
            "symbols",
            _module(imports=[Import(name="nobody_has_this", library=libc, version="GLIBC_2.99", is_weak=True)]),
        ),
    ]


def _loading() -> list[CraftedWheel]:
    """Return wheels that a loader refuses, or not, for the shape of their files."""
    tls = [*A32.load(3, "got:tls")]
    tool = "py3-none-linux_armv6l.linux_armv7l"
    soft = {key: value for key, value in PI_TWO.items() if key != "vfp_args"}

    def program(name: str, content: bytes) -> CraftedWheel:
        path = f"{name.replace('-', '_')}-1.0.data/scripts/tool"
        return CraftedWheel(name=name, kind="loader", files={path: content}, tag=tool, exercise="!tool")

    return [
        _wheel("stack-executable", "loader", _module(shape=Shape(stack_flags=7))),
        _wheel("stack-unsaid", "loader", _module(shape=Shape(stack_flags=None))),
        _wheel("stack-unsaid-64", "loader", _module(64, shape=Shape(stack_flags=None)), tag=ARM64),
        _wheel("stack-executable-64", "loader", _module(64, shape=Shape(stack_flags=7)), tag=ARM64),
        program("stack-executable-of-program", _program(stack_flags=7)),
        CraftedWheel(
            name="stack-executable-of-library",
            kind="loader",
            files={
                MODULE: _module(shape=Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN")),
                "libinner.so.1": _library(
                    [_leaf("inner", is_exported=True)], shape=Shape(soname="libinner.so.1", stack_flags=7)
                ),
            },
        ),
        _wheel("tls-large-static", "loader", _module(body=tls, shape=Shape(tls_bytes=65536, is_tls_static=True))),
        _wheel("tls-small-static", "loader", _module(body=tls, shape=Shape(tls_bytes=64, is_tls_static=True))),
        _wheel("tls-large-dynamic", "loader", _module(body=tls, shape=Shape(tls_bytes=65536))),
        _wheel(
            "tls-large-static-64", "loader", _module(64, shape=Shape(tls_bytes=65536, is_tls_static=True)), tag=ARM64
        ),
        _wheel("tls-small-static-64", "loader", _module(64, shape=Shape(tls_bytes=64, is_tls_static=True)), tag=ARM64),
        _wheel("pages-of-4-kib", "pages", _module(shape=Shape(page_bytes=0x1000))),
        _wheel("pages-of-4-kib-64", "pages", _module(64, shape=Shape(page_bytes=0x1000)), tag=ARM64),
        _wheel("pages-of-16-kib-64", "pages", _module(64, shape=Shape(page_bytes=0x4000)), tag=ARM64),
        _wheel("pages-of-64-kib-64", "pages", _module(64), tag=ARM64),
        _wheel("soft-float-by-flag", "loader", _module(shape=Shape(flags=0x05000200))),
        _wheel("float-unsaid-by-flag", "loader", _module(shape=Shape(flags=0x05000000))),
        _wheel(
            "float-unsaid-by-flag-and-soft-by-attribute",
            "loader",
            _module(shape=Shape(flags=0x05000000, attributes=soft)),
        ),
        program("soft-float-program", _program(interpreter="/lib/ld-linux.so.3", flags=0x05000200)),
        program("musl-program", _program(interpreter="/lib/ld-musl-armhf.so.1", needed=["libc.musl-armhf.so.1"])),
        program("android-program", _program(interpreter="/system/bin/linker", needed=["libc.so"])),
        _wheel("other-machine", "loader", _module(64), tag=ARM),
        _wheel("other-machine-x86", "loader", _module(shape=Shape(machine=3, flags=0)), tag=ARM),
        _wheel("truncated", "loader", _module()[:700], tag=ARM),
        _wheel("not-elf", "loader", b"This is not a shared object.\n" * 40, tag=ARM),
        _wheel("empty-module", "loader", b"", tag=ARM),
    ]


def _modules() -> list[CraftedWheel]:
    """Return wheels whose modules a Python finds or does not find by name."""
    plain, plain64 = _module(), _module(64)
    arm = "linux_armv6l.linux_armv7l"
    names = {
        "suffix-of-debian": ("demo.cpython-311-arm-linux-gnueabihf.so", f"cp311-cp311-{arm}"),
        "suffix-of-x86": ("demo.cpython-311-x86_64-linux-gnu.so", f"cp311-cp311-{arm}"),
        "suffix-of-soft-float": ("demo.cpython-311-arm-linux-gnueabi.so", f"cp311-cp311-{arm}"),
        "suffix-of-musl": ("demo.cpython-311-arm-linux-musleabihf.so", f"cp311-cp311-{arm}"),
        "suffix-without-triplet": ("demo.cpython-311.so", f"cp311-cp311-{arm}"),
        "suffix-of-armv7": ("demo.cpython-311-armv7l-linux-gnueabihf.so", f"cp311-cp311-{arm}"),
        "suffix-of-other-python": ("demo.cpython-310-arm-linux-gnueabihf.so", f"cp311-cp311-{arm}"),
        "suffix-free-threaded": ("demo.cpython-313t-arm-linux-gnueabihf.so", f"cp313-cp313-{arm}"),
        "suffix-with-flag-m": ("demo.cpython-311m-arm-linux-gnueabihf.so", f"cp311-cp311-{arm}"),
        "suffix-bare": ("demo.so", f"cp311-cp311-{arm}"),
        "suffix-bare-of-any-python": ("demo.so", f"py3-none-{arm}"),
        "suffix-abi3-of-one-python": (MODULE, f"cp311-cp311-{arm}"),
        "suffix-of-one-python-under-abi3": ("demo.cpython-39-arm-linux-gnueabihf.so", f"cp39-abi3-{arm}"),
        "suffix-of-one-python-under-py3": ("demo.cpython-37m-arm-linux-gnueabihf.so", f"py3-none-{arm}"),
        "suffix-pyd": ("demo.pyd", f"cp311-cp311-{arm}"),
        "suffix-dylib": ("demo.cpython-311-darwin.so", f"cp311-cp311-{arm}"),
    }
    made = [CraftedWheel(name=name, kind="python", files={path: plain}, tag=tag) for name, (path, tag) in names.items()]
    both = {"demo.cpython-39-arm-linux-gnueabihf.so": plain, "demo.cpython-311-arm-linux-gnueabihf.so": plain}
    return [
        *made,
        CraftedWheel(name="suffix-of-two-pythons", kind="python", files=both, tag=f"cp39.cp311-cp39.cp311-{arm}"),
        CraftedWheel(
            name="suffix-64",
            kind="python",
            tag="cp311-cp311-linux_aarch64",
            files={"demo.cpython-311-aarch64-linux-gnu.so": plain64},
        ),
        CraftedWheel(
            name="suffix-64-of-arm",
            kind="python",
            tag="cp311-cp311-linux_aarch64",
            files={"demo.cpython-311-arm-linux-gnueabihf.so": plain64},
        ),
        CraftedWheel(
            name="suffix-64-of-x86",
            kind="python",
            tag="cp311-cp311-manylinux_2_17_aarch64",
            files={"demo.cpython-311-x86_64-linux-gnu.so": plain64},
        ),
        CraftedWheel(name="init-function-of-other-name", kind="python", files={MODULE: _module(name="other")}),
        CraftedWheel(
            name="name-with-hyphen",
            kind="python",
            exercise="import importlib; importlib.import_module('my-demo')",
            files={"my-demo.abi3.so": _module(name="my_demo")},
        ),
        CraftedWheel(
            name="init-function-of-other-name-with-hyphen",
            kind="python",
            exercise="import importlib; importlib.import_module('my-demo')",
            files={"my-demo.abi3.so": plain},
        ),
        CraftedWheel(
            name="init-function-of-python-2",
            kind="python",
            files={MODULE: _library([_leaf("initdemo", is_exported=True)])},
        ),
        CraftedWheel(
            name="namespace-package", kind="python", exercise="import pkg.demo", files={"pkg/demo.abi3.so": plain}
        ),
        CraftedWheel(
            name="module-in-subpackage",
            kind="python",
            exercise="import pkg.sub.demo",
            files={
                "pkg/__init__.py": b"from .sub import demo\n",
                "pkg/sub/__init__.py": b"",
                "pkg/sub/demo.abi3.so": plain,
            },
        ),
        CraftedWheel(
            name="package-with-helper-for-x86",
            kind="python",
            tag="py3-none-any",
            exercise="import pkg",
            files={
                "pkg/__init__.py": b"",
                "pkg/x64/helper.so": _library([_leaf("inner", bits=64)], 64, shape=Shape(machine=62)),
            },
        ),
        CraftedWheel(
            name="package-with-module-for-x86",
            kind="python",
            tag="py3-none-any",
            exercise="import pkg",
            files={
                "pkg/__init__.py": b"from . import _core\n",
                "pkg/_core.cpython-311-x86_64-linux-gnu.so": _library(
                    [_leaf("inner", bits=64)], 64, shape=Shape(machine=62)
                ),
            },
        ),
        CraftedWheel(
            name="any-with-module-for-all",
            kind="python",
            tag="py3-none-any",
            exercise="import pkg",
            files={
                "pkg/__init__.py": b"from . import demo\n",
                "pkg/demo.cpython-311-arm-linux-gnueabihf.so": plain,
                "pkg/demo.cpython-313-arm-linux-gnueabihf.so": plain,
                "pkg/demo.cpython-39-arm-linux-gnueabihf.so": plain,
                "pkg/demo.cpython-311-aarch64-linux-gnu.so": plain64,
                "pkg/demo.cpython-313-aarch64-linux-gnu.so": plain64,
                "pkg/demo.cpython-39-aarch64-linux-gnu.so": plain64,
            },
        ),
    ]


def _tags() -> list[CraftedWheel]:
    """Return wheels that pip takes or refuses."""
    plain, text = {MODULE: _module()}, {"demo.py": b""}
    module311 = {"demo.cpython-311-arm-linux-gnueabihf.so": _module()}
    module313 = {"demo.cpython-313-arm-linux-gnueabihf.so": _module()}

    def tagged(name: str, tag: str, files: Mapping[str, bytes] = field(), metadata: str = "") -> CraftedWheel:
        return CraftedWheel(name=name, kind="pip", files=files, tag=tag, metadata=metadata)

    return [
        tagged("requires-python-3-10", "py3-none-any", text, "Requires-Python: >=3.10\n"),
        tagged("requires-python-below-3-13", "py3-none-any", text, "Requires-Python: >=3.6,<3.13\n"),
        tagged("requires-python-unreadable", "py3-none-any", text, "Requires-Python: three\n"),
        tagged("requires-python-not-3-11", "py3-none-any", text, "Requires-Python: !=3.11.*\n"),
        tagged("tag-of-armv8l", "cp313-cp313-linux_armv8l", module313),
        tagged("tag-of-armv8l-for-bookworm", "cp311-cp311-linux_armv8l", module311),
        tagged("tag-of-aarch64", "cp311-cp311-linux_aarch64", module311),
        tagged("tag-of-armhf", "cp37-abi3-linux_armhf", plain),
        tagged("tag-of-arm64", "cp37-abi3-linux_arm64", {MODULE: _module(64)}),
        tagged("tag-of-manylinux-armv7l", "cp37-abi3-manylinux2014_armv7l", plain),
        tagged("tag-of-manylinux-2-31-armv7l", "cp37-abi3-manylinux_2_31_armv7l", plain),
        tagged("tag-of-manylinux-2-36-armv7l", "cp37-abi3-manylinux_2_36_armv7l", plain),
        tagged("tag-of-manylinux-armv6l", "cp37-abi3-manylinux2014_armv6l", plain),
        tagged("tag-of-manylinux1-aarch64", "cp37-abi3-manylinux1_aarch64", {MODULE: _module(64)}),
        tagged("tag-of-musllinux-armv7l", "cp37-abi3-musllinux_1_2_armv7l", plain),
        tagged("tag-of-cp311-none", "cp311-none-linux_armv7l", module311),
        tagged("tag-of-cp39-none", "cp39-none-linux_armv7l", plain),
        tagged("tag-of-py311", "py311-none-any", text),
        tagged("tag-of-py2", "py2-none-any", text),
        tagged("tag-of-py39", "py39-none-any", text),
        tagged("tag-of-cp312-abi3", "cp312-abi3-linux_armv7l", plain),
        tagged("tag-of-cp313t", "cp313-cp313t-linux_armv7l", plain),
        tagged("tag-of-cp311-abi3-any", "cp311-abi3-any", text),
        tagged("tag-of-pypy", "pp311-pypy311_pp73-linux_armv7l", plain),
    ]


def _guards() -> list[CraftedWheel]:
    """Return wheels whose Python code catches what goes wrong, or does not."""
    missing = {"pkg/_core.abi3.so": _module(name="_core", shape=Shape(needed=["libnowhere.so.9"]))}
    absent = {"pkg/_core.cpython-310-arm-linux-gnueabihf.so": _module(name="_core")}
    broken_library = {
        "pkg/libwork.so": _library([_leaf("inner", is_exported=True)], shape=Shape(needed=["libno.so.9"]))
    }
    whole_library = {"pkg/libwork.so": _library([_leaf("inner", is_exported=True)])}
    load = "ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'libwork.so'))"

    def guarded(name: str, code: str, files: Mapping[str, bytes], tag: str = ARM) -> CraftedWheel:
        held = {"pkg/__init__.py": code.encode(), **files}
        return CraftedWheel(name=name, kind="python", files=held, tag=tag, exercise="import pkg")

    def tried(error: str, statement: str = "from . import _core") -> str:
        return f"import ctypes, os\ntry:\n    {statement}\nexcept {error}:\n    _core = None\n"

    py3 = "py3-none-linux_armv6l.linux_armv7l"
    return [
        guarded("guard-import-error", tried("ImportError"), missing),
        guarded("guard-module-not-found", tried("ModuleNotFoundError"), missing),
        guarded("guard-module-not-found-absent", tried("ModuleNotFoundError", "import pkg._core"), absent, py3),
        guarded("guard-os-error", tried("OSError"), missing),
        guarded("guard-import-error-of-ctypes", tried("ImportError", load), broken_library, py3),
        guarded("guard-os-error-of-ctypes", tried("OSError", load), broken_library, py3),
        guarded("guard-regretted", tried("ImportError") + "if _core is None:\n    raise RuntimeError\n", missing),
        guarded("guard-that-exits", tried("ImportError").replace("_core = None", "raise SystemExit(1)"), missing),
        guarded("load-by-name-alone", "import ctypes\nctypes.CDLL('libwork.so')\n", whole_library, py3),
        guarded("load-of-missing-file", tried("ImportError", load.replace("libwork", "libother")), whole_library, py3),
        CraftedWheel(
            name="module-hidden-by-package",
            kind="python",
            files={MODULE: _module(shape=Shape(needed=["libnowhere.so.9"])), "demo/__init__.py": b""},
        ),
        guarded("import-in-lambda", "load = lambda: __import__('pkg._core')\n", missing),
        guarded("import-of-imp", "import imp\n", {}, "py3-none-any"),
        guarded("import-of-imp-tried", tried("ImportError", "import imp"), {}, "py3-none-any"),
        guarded("import-of-cgi-by-submodule", "from . import sub\n", {"pkg/sub.py": b"import cgi\n"}, "py3-none-any"),
        guarded("match-statement", "match 1:\n    case 1:\n        pass\n", {}, "py3-none-any"),
        guarded("print-statement", "print 'hello'\n", {}, "py2.py3-none-any"),
        guarded("import-of-tomllib", "import tomllib\n", {}, "py3-none-any"),
        guarded("import-of-lacking-module", "from ._core import thing\n", {}, "py3-none-any"),
        guarded("import-of-lacking-part", "import os\nfrom . import _core\n", {}, "py3-none-any"),
        guarded("import-of-lacking-module-tried", tried("ImportError", "from ._core import thing"), {}, "py3-none-any"),
        guarded("import-of-lacking-module-later", "def f():\n    import pkg._core\n", {}, "py3-none-any"),
        guarded(
            "import-of-own-name",
            "_core = 1\nfrom . import sub\n",
            {"pkg/sub.py": b"from . import _core\n"},
            "py3-none-any",
        ),
        guarded(
            "import-of-module-made-by-code",
            "import sys, types\nsys.modules['pkg._core'] = types.ModuleType('_core')\nfrom ._core import __name__\n",
            {},
            ARM64,
        ),
    ]


def _computed_loads() -> list[CraftedWheel]:
    """Return wheels whose Python code computes the path of a library: of one for another machine, or of none."""
    files = {
        "pkg/libpc.so": make_elf(bits=64, machine=62, kind=3, hashes_versions=False),
        "pkg/libpi.so": _library([_leaf("inner", is_exported=True)]),
        "pkg/libtext.so": b"libpi.so",
    }
    begin = "import ctypes, os, sys\nHERE = os.path.dirname(os.path.abspath(__file__))\n"
    lines = {
        "load-of-pc-library": "ctypes.CDLL(os.path.join(HERE, 'libpc.so'))",
        "load-of-text": "ctypes.CDLL(os.path.join(HERE, 'libtext.so'))",
        "load-of-pc-library-if-there": "path = os.path.join(HERE, 'libpc.so')\nif os.path.isfile(path):\n"
        "    name = path\nelse:\n    name = 'libpc.so'\nlib = ctypes.CDLL(name)",
        "load-in-function": "def load(name, folder=HERE):\n    return ctypes.cdll.LoadLibrary(f'{folder}/{name}.so')\n"
        "lib = load('libpc', HERE)",
        "load-by-pathlib": "from pathlib import Path\nlib = ctypes.CDLL(str(Path(__file__).parent / 'libpc.so'))",
        "load-in-class": "class Lib:\n    lib = ctypes.PyDLL(HERE + '/libpc.so')",
        "load-by-table": "NAMES = {'linux': 'libpc.so', 'win32': 'x.dll'}\n"
        "ctypes.CDLL(os.path.join(HERE, NAMES[sys.platform]))",
        "load-that-is-caught": "try:\n    ctypes.CDLL(HERE + '/libpc.so')\nexcept OSError:\n    pass",
        "load-that-is-caught-and-raised": "try:\n    ctypes.CDLL(HERE + '/libpc.so')\nexcept OSError as error:\n"
        "    raise ImportError('no') from error",
        "load-elsewhere-only": "def is_windows():\n    return sys.platform == 'win32'\nif is_windows():\n"
        "    ctypes.CDLL(HERE + '/libpc.so')",
        "load-in-loop": "for name in ('libpc.so', 'libpi.so'):\n    try:\n"
        "        lib = ctypes.CDLL(os.path.join(HERE, name))\n        break\n    except OSError:\n        pass",
        "load-of-replaced-file": "import shutil\nshutil.copy(HERE + '/libpi.so', HERE + '/libpc.so')\n"
        "lib = ctypes.CDLL(HERE + '/libpc.so')",
    }
    caught = "try:\n    from . import native\nexcept {}:\n    native = None\n"
    native = {"pkg/native.py": f"{begin}ctypes.CDLL(HERE + '/libpc.so')\n".encode()}
    core = {"pkg/_core.abi3.so": _module(name="_core", shape=Shape(needed=["libnowhere.so.9"]))}
    needs = {"pkg/__init__.py": b"__version__ = '1'\n", "pkg/fast.py": b"from pkg import _core\n", **core}
    tried = {"pkg/api.py": b"try:\n    from pkg import fast\nexcept ImportError:\n    fast = None\n"}

    def made(name: str, changes: Mapping[str, bytes], exercise: str = "import pkg", tag: str = ARM) -> CraftedWheel:
        return CraftedWheel(name=name, kind="loader", files=changes, tag=tag, exercise=exercise)

    pure = "py3-none-any"
    return [
        *(
            made(name, {"pkg/__init__.py": f"{begin}{code}\n".encode(), **files}, tag=pure)
            for name, code in lines.items()
        ),
        made("load-in-module-that-is-caught", {
            "pkg/__init__.py": caught.format("(ImportError, OSError)").encode(), **native, **files,
        }, tag=pure),
        made("load-in-module-that-is-not-caught", {
            "pkg/__init__.py": caught.format("ImportError").encode(), **native, **files,
        }, tag=pure),
        made("module-that-users-need", needs, "import pkg.fast"),
        made("module-that-another-tries", needs | tried, "import pkg.api"),
    ]  # fmt: skip


def _archives() -> list[CraftedWheel]:
    """Return wheels with machine code in a zip archive."""
    unpack = (
        b"import os, sys, tempfile, zipfile\nfolder = tempfile.mkdtemp(dir='/tmp')\n"
        b"zipfile.ZipFile(os.path.join(os.path.dirname(__file__), 'bundle.egg')).extractall(folder)\n"
        b"sys.path.insert(0, folder)\nimport demo\n"
    )
    on_path = (
        b"import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'bundle.egg'))\nimport demo\n"
    )

    def packed(name: str, code: bytes, content: bytes) -> CraftedWheel:
        files = {"pkg/__init__.py": code, "pkg/bundle.egg": _zip_of({MODULE: content})}
        tag = "py3-none-linux_armv6l.linux_armv7l"
        return CraftedWheel(name=name, kind="cpu", files=files, tag=tag, exercise="import pkg")

    return [
        packed("packed-neon-unpacked", unpack, _module(body=NEON_TEN)),
        packed("packed-neon-left-packed", b"", _module(body=NEON_TEN)),
        packed("packed-plain-unpacked", unpack, _module()),
        packed("packed-plain-on-path", on_path, _module()),
    ]


def _zip_of(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return stream.getvalue()


def _headers() -> list[CraftedWheel]:
    """Return wheels for which the loader looks at the header, the names and the order of files."""
    plain = _module()

    def changed(content: bytes, changes: Mapping[int, int]) -> bytes:
        edited = bytearray(content)
        for at, value in changes.items():
            edited[at] = value
        return bytes(edited)

    def inner(name: str = "inner", **about: object) -> bytes:
        shape = replace(Shape(soname="libinner.so.1"), **about)  # type: ignore[arg-type]
        return _library([_leaf(name, is_exported=True)], shape=shape)

    def versioned(version: str) -> bytes:
        return _library([_leaf("inner", is_exported=True, version=version)], shape=Shape(soname="libinner.so.1"))

    needs = Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN/a:$ORIGIN/b")
    wants = [Import(name="inner", library="libinner.so.1", version="INNER_2")]
    module = _module(body=_CALL_INNER, imports=[_INNER], shape=needs)

    def with_libraries(name: str, libraries: Mapping[str, bytes]) -> CraftedWheel:
        return CraftedWheel(name=name, kind="loader", files={MODULE: module, **libraries})

    def in_order(name: str, first: str, second: str) -> CraftedWheel:
        files = {
            "pkg/__init__.py": f"from . import {first}, {second}\n".encode(),
            "pkg/other.abi3.so": _module(name="other", shape=replace(needs, runpath="$ORIGIN/old")),
            "pkg/demo.abi3.so": _module(body=_CALL_INNER, imports=wants, shape=replace(needs, runpath="$ORIGIN/new")),
            "pkg/old/libinner.so.1": versioned("INNER_1"),
            "pkg/new/libinner.so.1": versioned("INNER_2"),
        }
        return CraftedWheel(name=name, kind="loader", files=files, exercise="import pkg")

    tool = "py3-none-linux_armv6l.linux_armv7l"
    return [
        _wheel("header-of-version-2", "loader", changed(plain, {20: 2})),
        _wheel("header-ident-of-version-2", "loader", changed(plain, {6: 2})),
        _wheel("header-with-padding", "loader", changed(plain, {12: 7})),
        _wheel("header-gnu-abi-2", "loader", changed(plain, {7: 3, 8: 2})),
        _wheel("header-gnu-abi-3", "loader", changed(plain, {7: 3, 8: 3})),
        with_libraries(
            "library-soft-float-first", {"a/libinner.so.1": inner(flags=0x05000200), "b/libinner.so.1": inner()}
        ),
        with_libraries(
            "library-in-tls-folder-first", {"a/tls/libinner.so.1": inner("other"), "a/libinner.so.1": inner()}
        ),
        in_order("library-of-same-name-before", "other", "demo"),
        in_order("library-of-same-name-after", "demo", "other"),
        CraftedWheel(
            name="interpreter-with-two-slashes",
            kind="loader",
            files={
                "interpreter_with_two_slashes-1.0.data/scripts/tool": _program(interpreter="/lib//ld-linux-armhf.so.3")
            },
            tag=tool,
            exercise="!tool",
        ),
    ]


def _strange_calls() -> list[CraftedWheel]:
    """Return wheels with something that the loader calls where no code is, or relocations that it may not know."""
    back = {"back": [b"\x1e\xff\x2f\xe1"]}
    back64 = {"back": [b"\xc0\x03\x5f\xd6\0\0\0\0"]}
    tool = "py3-none-linux_armv6l.linux_armv7l"
    leaf = _leaf("work")

    def program(name: str, **about: object) -> CraftedWheel:
        files = {f"{name.replace('-', '_')}-1.0.data/scripts/tool": _program(**about)}  # type: ignore[arg-type]
        return CraftedWheel(name=name, kind="loader", files=files, tag=tool, exercise="!tool")

    def module(
        name: str, *, bits: Bits = 32, data: Mapping[str, Sequence[Datum]] | None = None, **about: object
    ) -> CraftedWheel:
        shape = replace(Shape(), **about)  # type: ignore[arg-type]
        content = _module(bits, functions=[replace(leaf, code=Assembly(bits).leave)], data=data, shape=shape)
        return _wheel(name, "loader", content, tag=ARM if bits == 32 else ARM64)

    return [
        module("constructor-in-data", data=back, constructors=["back"]),
        module("constructor-in-data-64", bits=64, data=back64, constructors=["back"]),
        module("destructor-in-data", data=back, destructors=["back"]),
        module("constructor-in-code", constructors=["work"]),
        module("constructor-in-code-64", bits=64, constructors=["work"]),
        module("init-in-data", data=back, init="back"),
        module("init-in-code", init="work"),
        module("code-not-executable", code_flags=6),
        module("code-not-executable-64", bits=64, code_flags=4),
        module("constructor-not-executable", constructors=["work"], code_flags=4),
        program("program-not-executable", code_flags=6),
        module("init-of-nothing", more_tags=[(12, 0)]),
        module("constructor-of-nothing", constructors=["work"], null_constructors=1),
        module("constructor-of-nothing-64", bits=64, constructors=["work"], null_constructors=1),
        module("constructors-without-one", more_tags=[(25, 0), (27, 0)]),
        module("procedures-with-relocation-of-nothing", procedure_relocations=[0]),
        module("procedures-with-pointer", procedure_relocations=[23]),
        module("procedures-with-pointer-64", bits=64, procedure_relocations=[1027]),
        program("program-with-procedure-of-nothing", procedure_relocations=[0]),
        program("program-with-pointer-in-procedures", procedure_relocations=[23]),
        program("program-with-procedure-of-nothing-bound-now", procedure_relocations=[0], more_tags=[(24, 0)]),
        program("program-by-relative-interpreter", interpreter="lib/ld-linux-armhf.so.3"),
        module("packed-relocations-empty", more_tags=[(36, 0x100), (35, 0), (37, 4)]),
        module("packed-relocations-of-no-size", more_tags=[(36, 0x100), (37, 4)]),
    ]


def _strange_files() -> list[CraftedWheel]:
    """Return wheels with files that are not what their names promise."""
    library = _library([_leaf("inner", is_exported=True)], shape=Shape(soname="libinner.so.1"))
    needs = Shape(needed=["libinner.so.1", "libc.so.6"], runpath="$ORIGIN/a:$ORIGIN/b")
    module = _module(body=_CALL_INNER, imports=[_INNER], shape=needs)
    load = "import ctypes, ctypes.util\nlib = ctypes.CDLL(ctypes.util.find_library({}))\n"
    broken = _library([_leaf("inner", is_exported=True)], shape=Shape(needed=["libno.so.9"]))

    def made(name: str, files: Mapping[str, bytes], exercise: str = "import demo", tag: str = ARM) -> CraftedWheel:
        return CraftedWheel(name=name, kind="loader", files=files, exercise=exercise, tag=tag)

    folder = {"a/libinner.so.1/README": b"not a library"}
    return [
        made("folder-named-like-library", {MODULE: module, **folder}),
        made("folder-named-like-library-first", {MODULE: module, **folder, "b/libinner.so.1": library}),
        made("folder-named-like-library-last", {
            MODULE: module, "a/libinner.so.1": library, "b/libinner.so.1/README": b"",
        }),
        made("folder-named-like-system-library", {
            MODULE: _module(shape=Shape(needed=["libz.so.1"], runpath="$ORIGIN/a")), "a/libz.so.1/README": b"",
        }),
        made("library-with-longer-name", {MODULE: module, "a/libinner.so.1.0.0": library}),
        made("library-with-shorter-name", {MODULE: module, "a/libinner.so": library}),
        made("module-with-number", {"demo.so.1": _module()}),
        made("module-with-number-in-package", {"pkg/__init__.py": b"from . import demo\n", "pkg/demo.so.1": _module()},
             "import pkg"),
        made("found-library-of-wheel-by-file-name", {
            "pkg/__init__.py": load.format("'libwork.so'").encode(), "pkg/libwork.so": broken,
        }, "import pkg", "py3-none-linux_armv6l.linux_armv7l"),
    ]  # fmt: skip
