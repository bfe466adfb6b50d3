"""Changes of the text files of a wheel: METADATA, WHEEL, RECORD and entry_points.txt."""

import random

_LINES = (
    *(
        "Name: other",
        "Name: " + "a-" * 3000,
        "Version: " + "1" * 4300,
        "Version: 1.0+" + "a." * 2000,
        "Version:",
        "Version: 1!2",
    ),
    *(
        "Requires-Python: >=" + "9" * 4300,
        "Requires-Python: >=3.6.*",
        "Requires-Python: <2",
        "Requires-Python: ~=3",
        "Requires-Python: !=",
    ),
    *(
        "Requires-Dist: numpy>=99",
        "Requires-Dist: numpy " + ",".join([">=1.0", "!=1.7"] * 200),
        "Requires-Dist: numpy" + "(" * 500,
    ),
    *(
        "Requires-Dist: numpy>=" + "9" * 4300,
        "Requires-Dist: a[" + "b," * 500 + "b]",
        "Requires-Dist: a; python_version<'3'" * 3,
    ),
    *(
        "Requires-Dist: numpy; " + "(" * 300 + "python_version<'3'" + ")" * 300,
        "Requires-Dist: numpy @ file:///x",
        "Requires-Dist: ;;;",
    ),
    *(
        "Requires-Dist: numpy; extra == 'x'",
        "Requires-Dist: numpy==1.*.2",
        "Requires-Dist: numpy===foo",
        "Requires-Dist: ñ",
    ),
    *(
        " folded",
        "\tfolded",
        "NoColon",
        ": no name",
        "Import-Name: thing.core",
        "Import-Name: thing; private",
        "Import-Name: " + "a." * 2000,
    ),
    *(
        "Wheel-Version: 2.0",
        "Wheel-Version: " + "1" * 5000,
        "Root-Is-Purelib: true",
        "Tag: py3-none-any",
        "Tag: " + "a." * 50 + "a-b-c",
    ),
    *(
        "Tag: ---",
        "Build: x",
        "[console_scripts]",
        "a = thing",
        "a = thing:main",
        "a = " + "b." * 2000 + "c",
        "[" * 200,
    ),
    *(
        '"' + "a" * 200000,
        "a,b,c,d",
        '"a""b",sha256=x,1',
        "thing/core.abi3.so,,",
        "../x,sha256=,",
        "\0",
        "\x1b[31m",
        "=?utf-8?q?=41?=",
    ),
    *(
        "x,sha256=" + "A" * 5000 + ",99999999999999999999",
        "",
        "\r",
        "\x85",
        "\u2028",
        "\ufeff",
        "thing/core.abi3.so,md5=x,-1",
    ),
)
"""Lines that mean trouble, or that are valid and rare."""


def mutated_text(content: bytes, source: random.Random) -> bytes:
    """Change some lines of a text file."""
    lines = content.split(b"\n")
    for _ in range(source.choice((1, 1, 2, 5))):
        at = source.randrange(len(lines) or 1)
        kind = source.randrange(9)
        if kind < 3:
            lines.insert(at, source.choice(_LINES).encode())
        elif kind == 3 and lines:
            del lines[at]
        elif kind == 4 and lines:
            lines.insert(source.randrange(len(lines)), lines[at])
        elif kind == 5 and lines:
            lines[at] = source.choice(_LINES).encode()
        elif kind == 6 and lines:
            lines[at] = _changed_bytes(lines[at], source)
        elif kind == 7 and lines:
            lines[at] *= source.choice((0, 2, 50, 1000))
        elif kind == 8:
            source.shuffle(lines)
    return source.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r")).join(lines)


def _changed_bytes(line: bytes, source: random.Random) -> bytes:
    changed = bytearray(line)
    for _ in range(source.choice((1, 2, 4))):
        changed[source.randrange(len(changed) or 1) :][:1] = b""
        changed.insert(
            source.randrange(len(changed) + 1), source.choice((0, 0x09, 0x0C, 0x20, 0x22, 0x2C, 0x3A, 0x80, 0xC3, 0xFF))
        )
    return bytes(changed)
