"""Which other tags a wheel may claim: those that its contents support.

The machine code shows on which platforms it runs. Whether it works with another Python depends on how it was compiled:
a wheel with extension modules keeps its Python, unless a person accepts the risk. WHEEL then names that risk.
"""

from collections.abc import Collection
from pathlib import Path

from packaging.tags import Tag

from pibuild.errors import ProofError
from pibuild.verify.binary import read_binaries
from pibuild.verify.claims import contradictions, foreign_system
from pibuild.wheels.python_tags import abi_tag, interpreter_tag
from pibuild.wheels.relabel import format_tag_set, relabel
from pibuild.wheels.wheel import Wheel, WheelFormatError, parse_tag_set, read_wheel, wheel_name

RISK_FIELD = "Pibuild-Abi-Risk"
"""The field of WHEEL that tells that a wheel was compiled for another Python than it claims."""


def retagged_wheel(path: Path, *, python: str | None, platform: str | None, accept_abi_risk: bool) -> Wheel:
    """Return a wheel with the tags of another Python, another platform tag, or both.

    Without `python` all its Pythons stay (`py2.py3`), without `platform` all its platforms. Raise ProofError with every
    contradiction between the new tags and the contents.
    """
    try:
        wheel = read_wheel(path)
        tags = wheel_name(path.name).tags
        platforms = {platform} if platform else {tag.platform for tag in tags}
        pairs, risk = {(tag.interpreter, tag.abi) for tag in tags}, ""
        if python is not None:
            pair, risk = _python_pair(wheel, tags, python)
            pairs = {pair}
        claim = format_tag_set(Tag(*pair, platform) for pair in pairs for platform in platforms)
        retagged = relabel(wheel, claim, fields=[(RISK_FIELD, risk)] if risk else [])
    except WheelFormatError as err:
        raise ProofError(f"{path.name} is not a wheel that can be retagged", found=str(err)) from err
    binaries, unreadable = read_binaries(retagged.files, is_linux=any("linux" in tag.platform for tag in tags))
    if unreadable:
        raise ProofError(f"{path.name} holds machine code that can't be read", details=unreadable)
    faults = tuple(contradictions(retagged, parse_tag_set(claim), binaries))
    refused_risk = [risk] if risk and not accept_abi_risk else []
    if faults or refused_risk:
        hint = "build it for what it is to claim"
        hint += "" if faults else ", or --accept-abi-risk, which is then written into the wheel"
        raise ProofError(f"{path.name} can't be tagged {claim}", details=(*refused_risk, *faults), hint=hint)
    return retagged


def _python_pair(wheel: Wheel, tags: Collection[Tag], python: str) -> tuple[tuple[str, str], str]:
    """Return (interpreter, ABI) for another Python, and the risk that a person must accept; empty if there is none."""
    interpreter, abi = interpreter_tag(python), abi_tag(python)
    if not wheel.has_machine_code and not any(foreign_system(file) for file in wheel.files):
        return (interpreter.replace("cp", "py"), "none"), ""
    if all(tag.abi == "none" for tag in tags):  # programs and libraries, no extension modules
        return (f"py{python.split('.', maxsplit=1)[0]}", "none"), ""
    if all(tag.abi == "abi3" for tag in tags):
        since = min(_minor(tag.interpreter) for tag in tags)
        is_older = python.startswith("2.") or _minor(interpreter) < since
        risk = f"its modules use the stable ABI of Python 3.{since}, which Python {python} need not have"
        return (interpreter, "abi3"), risk if is_older else ""
    built_for = sorted({tag.abi for tag in tags})
    risk = f"it was compiled for {' '.join(built_for)}, and CPython's ABI changes with each version"
    return (interpreter, abi), "" if abi in built_for else risk


def _minor(interpreter: str) -> int:
    digits = interpreter.removeprefix("cp3")
    return int(digits) if digits.isdecimal() else 0
