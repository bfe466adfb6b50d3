"""The stubs of ../toolchain/floor_stubs.py for AArch64, whose dynamic linker has another name.

usage: floor_stubs64.py ABILIST_DIR FLOOR OUT_DIR COMPILER [FLAG...]
"""

import sys
from pathlib import Path

import floor_stubs

_LOADER = "ld-linux-aarch64.so.1"

floor_stubs.SONAMES["ld"] = _LOADER
floor_stubs.LIBC_SCRIPT = f"""\
OUTPUT_FORMAT(elf64-littleaarch64)
GROUP ( libc.so.6 libc_nonshared.a AS_NEEDED ( {_LOADER} ) )
"""

if __name__ == "__main__":
    floor_stubs.main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
