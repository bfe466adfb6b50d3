"""Giving a wheel another claim, as long as its contents bear it out.

A platform is borne out by the machine code; a Python by nothing but how the wheel was compiled, so an extension module
keeps its own, unless a person takes the risk and the wheel says so.
"""

from collections.abc import Collection
from pathlib import Path

from packaging.tags import Tag

from pibuild.errors import ProofError
from pibuild.machinecode.elf import MAGIC, ElfFormatError, read_code
from pibuild.verify.claims import contradictions, foreign_code
from pibuild.verify.cpu_needs import Code
from pibuild.wheels import python_tags as pythons
from pibuild.wheels.wheel import Wheel, WheelFormatError, read_wheel, retagged, tag_set, wheel_name, write_wheel

RISK_FIELD = "Pibuild-Abi-Risk"
"""The field of WHEEL that says of a wheel that it was compiled for another Python than it claims."""


def relabel(path: Path, *, python: str | None, platform: str | None, accept_abi_risk: bool, out_dir: Path) -> Path:
    """Write a wheel with another Python's tags, another platform tag or both; give its path.

    What is not asked for stays: all its platforms, or all its Pythons (`py2.py3`).

    Raises ProofError, with every contradiction, where the contents do not bear the claim out.
    """
    try:
        wheel = read_wheel(path)
        tags = wheel_name(path.name).tags
        platforms = {platform} if platform else {tag.platform for tag in tags}
        risks: list[str] = []
        pairs = {(tag.interpreter, tag.abi) for tag in tags}
        if python is not None:
            pairs = {_python_pair(wheel, tags, python, risks)}
        claimed = tag_set(Tag(*pair, one) for pair in pairs for one in platforms)
        made = retagged(wheel, claimed, fields=[(RISK_FIELD, "; ".join(risks))] if risks else [])
    except WheelFormatError as err:
        raise ProofError(f"{path.name} is not a wheel that can be retagged", found=str(err)) from err
    faults = tuple(contradictions(made, _codes(made, tags)))
    asked = risks if not accept_abi_risk else []
    if faults or asked:
        hint = "build it for what it is to claim"
        hint += "" if faults else ", or --accept-abi-risk, which is then written into the wheel"
        raise ProofError(f"{path.name} can't be tagged {claimed}", details=(*asked, *faults), hint=hint)
    return write_wheel(made, out_dir)


def _python_pair(wheel: Wheel, tags: Collection[Tag], python: str, risks: list[str]) -> tuple[str, str]:
    """Give the tags for another Python; what speaks against it and only a person can decide goes to `risks`."""
    interpreter, abi = pythons.interpreter_tag(python), pythons.abi_tag(python)
    if not wheel.has_machine_code and not any(foreign_code(file) for file in wheel.files):
        return interpreter.replace("cp", "py"), "none"
    if all(one.abi == "none" for one in tags):
        # programs and libraries, no extension modules
        return f"py{python.split('.', maxsplit=1)[0]}", "none"
    if all(one.abi == "abi3" for one in tags):
        since = min(_minor(one.interpreter) for one in tags)
        if python.startswith("2.") or _minor(interpreter) < since:
            risks.append(f"its modules use the stable ABI of Python 3.{since}, which Python {python} need not have")
        return interpreter, "abi3"
    built_for = sorted({one.abi for one in tags})
    if abi not in built_for:
        risks.append(f"it was compiled for {' '.join(built_for)}, and CPython's ABI changes with each version")
    return interpreter, abi


def _minor(interpreter: str) -> int:
    digits = interpreter.removeprefix("cp3")
    return int(digits) if digits.isdecimal() else 0


def _codes(wheel: Wheel, tags: Collection[Tag]) -> tuple[Code, ...]:
    is_linux = any("linux" in tag.platform for tag in tags)  # elsewhere a .so is of another format
    try:
        return tuple(
            Code(path=file.path, elf=elf, content=file.content)
            for file in wheel.files
            if is_linux or file.content.startswith(MAGIC)
            if (elf := read_code(file.path, file.content))
        )
    except ElfFormatError as err:
        raise ProofError(f"{wheel.file_name} holds machine code that can't be read", found=str(err)) from err
