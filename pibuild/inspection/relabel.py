"""Giving a wheel another claim, as long as its contents bear it out.

A platform is borne out by the machine code; a Python by nothing but how the wheel was compiled, so an extension module
keeps its own, unless a person takes the risk and the wheel says so.
"""

from pathlib import Path

from packaging.tags import Tag

from pibuild.errors import ProofError
from pibuild.formats import pythons
from pibuild.formats.elf import MAGIC, ElfFormatError, read_elf
from pibuild.formats.wheel import Wheel, WheelFormatError, read_wheel, retagged, wheel_name, write_wheel
from pibuild.inspection.claims import contradictions
from pibuild.inspection.code import Code
from pibuild.inspection.world import World

RISK_FIELD = "Pibuild-Abi-Risk"
"""The field of WHEEL that says of a wheel that it was compiled for another Python than it claims."""


def relabel(
    path: Path, *, python: str | None, platform: str | None, accept_abi_risk: bool, out_dir: Path, world: World
) -> Path:
    """Write a wheel with another Python's tags, another platform tag or both; give its path.

    Raises ProofError, with every contradiction, where the contents do not bear the claim out.
    """
    try:
        wheel = read_wheel(path)
        tags = wheel_name(path.name).tags
    except WheelFormatError as err:
        raise ProofError(f"{path.name} is not a wheel that can be retagged", found=str(err)) from err
    tag = next(iter(sorted(tags, key=str)))
    risks: list[str] = []
    claimed = Tag(tag.interpreter, tag.abi, platform) if platform else tag
    if python is not None:
        claimed = _python_tag(wheel, tags, claimed, python, risks)
    if risks and not accept_abi_risk:
        raise ProofError(
            f"{path.name} can't be tagged {claimed}",
            details=risks,
            hint="build it with that Python, or --accept-abi-risk, which is then written into the wheel",
        )
    made = retagged(wheel, str(claimed), fields=[(RISK_FIELD, "; ".join(risks))] if risks else [])
    if faults := tuple(contradictions(made, _codes(made), world)):
        hint = "build it for what it is to claim"
        raise ProofError(f"{path.name} can't be tagged {claimed}", details=faults, hint=hint)
    return write_wheel(made, out_dir)


def _python_tag(wheel: Wheel, tags: frozenset[Tag], tag: Tag, python: str, risks: list[str]) -> Tag:
    """Give the tag for another Python; what speaks against it and only a person can decide goes to `risks`."""
    interpreter, abi = pythons.interpreter_tag(python), pythons.abi_tag(python)
    if not wheel.has_machine_code:
        return Tag(interpreter.replace("cp", "py"), "none", tag.platform)
    if all(one.abi == "none" for one in tags):
        # programs and libraries, no extension modules
        return Tag(f"py{python.split('.', maxsplit=1)[0]}", "none", tag.platform)
    if all(one.abi == "abi3" for one in tags):
        since = min(_minor(one.interpreter) for one in tags)
        if python.startswith("2.") or _minor(interpreter) < since:
            risks.append(f"its modules use the stable ABI of Python 3.{since}, which Python {python} need not have")
        return Tag(interpreter, "abi3", tag.platform)
    built_for = sorted({one.abi for one in tags})
    if abi not in built_for:
        risks.append(f"it was compiled for {' '.join(built_for)}, and CPython's ABI changes with each version")
    return Tag(interpreter, abi, tag.platform)


def _minor(interpreter: str) -> int:
    digits = interpreter.removeprefix("cp3")
    return int(digits) if digits.isdecimal() else 0


def _codes(wheel: Wheel) -> tuple[Code, ...]:
    try:
        return tuple(
            Code(path=file.path, elf=read_elf(file.content), content=file.content)
            for file in wheel.files
            if file.content.startswith(MAGIC)
        )
    except ElfFormatError as err:
        raise ProofError(f"{wheel.file_name} holds machine code that can't be read", found=str(err)) from err
