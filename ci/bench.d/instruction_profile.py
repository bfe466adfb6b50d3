"""Profile a library by executed instructions: how many each function takes.

    count-run COUNTS,blocks=BLOCKS infer.py MODEL 2 --maps MAPS
    instruction_profile.py BLOCKS MAPS LIBRARY [--inferences 2] [--top 30]

LIBRARY is the .so as it was before strip (a build's symbols/); its name must be that of the .so which ran. For a
stripped one, such as the official wheel's, the hottest blocks are listed by their offset instead, for objdump.
"""

import argparse
import bisect
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection


def load_address(maps_path: Path, name: str) -> tuple[int, int]:
    """Return the addresses of the library in the process: its first address, and the end of its executable part."""
    ranges = []
    for line in maps_path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if len(words) > 5 and words[5].endswith("/" + name):
            ranges.append([int(number, 16) for number in words[0].split("-")])
    if not ranges:
        raise SystemExit(f"{maps_path}: {name} is not in it")
    return min(first for first, _ in ranges), max(end for _, end in ranges)


def functions(library_path: Path) -> list[tuple[int, int, str]]:
    """Return (address, end, name) of the functions, sorted; none if the library is stripped."""
    with library_path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            return []
        return sorted(
            (symbol["st_value"] & ~1, (symbol["st_value"] & ~1) + symbol["st_size"], symbol.name)
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]
        )


def function_at(offset: int, ranges: list[tuple[int, int, str]]) -> str:
    """Return the function that holds an offset, or the offset itself."""
    place = bisect.bisect_right(ranges, (offset, 1 << 62, "")) - 1
    if place >= 0 and ranges[place][0] <= offset < ranges[place][1]:
        return ranges[place][2]
    return f"{offset:#x}"


def count_by_function(blocks_path: Path, first: int, end: int, ranges: list[tuple[int, int, str]]) -> Counter[str]:
    """Return the executed instructions by function; code outside of the library is one entry."""
    sums: Counter[str] = Counter()
    for line in blocks_path.read_text(encoding="utf-8").splitlines():
        address_hex, instructions, executions = line.split()
        address = int(address_hex, 16) & ~1
        name = function_at(address - first, ranges) if first <= address < end else "(elsewhere)"
        sums[name] += int(instructions) * int(executions)
    return sums


def demangled(names: list[str]) -> list[str]:
    """Return readable C++ names if c++filt is installed, else the names as they are."""
    if not shutil.which("c++filt"):
        return names
    done = subprocess.run(["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def main() -> None:
    """Print million instructions per inference, share and name of each function, the largest share first."""
    parser = argparse.ArgumentParser(description="Profile a library by executed instructions.")
    parser.add_argument("blocks", type=Path)
    parser.add_argument("maps", type=Path)
    parser.add_argument("library", type=Path)
    parser.add_argument("--inferences", type=int, default=2)
    parser.add_argument("--top", type=int, default=30)
    args = parser.parse_args()
    first, end = load_address(args.maps, args.library.name)
    sums = count_by_function(args.blocks, first, end, functions(args.library))
    total = sum(sums.values())
    largest = sums.most_common(args.top)
    names = demangled([name for name, _ in largest])
    print(f"{total / args.inferences / 1e6:10.3f} M instructions per inference")
    for (_, count), name in zip(largest, names, strict=True):
        print(f"{count / args.inferences / 1e6:10.3f} {count / total:6.1%}  {name[:160]}")


if __name__ == "__main__":
    main()
