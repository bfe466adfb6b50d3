"""Retagging: the raw wheel, as the build left it, becomes one whose file name, WHEEL and RECORD say the same.

It gets what the build could not know: its bill of materials and, for a nightly, its version.

Writes the claim; whether it is true is verify's to measure. One contradiction is refused here already: a Python whose
ABI is not the one that the extension modules are named for.
"""

from pathlib import Path

from pibuild.errors import ProofError
from pibuild.wheels import python_tags as pythons
from pibuild.wheels import wheel


def retag(
    raw_wheel: Path,
    *,
    python: str,
    platform_tag: str,
    out_dir: Path,
    version: str | None = None,
    sbom: bytes | None = None,
) -> Path:
    """Write the wheel for one Python and platform tag (`linux_armv6l`) into a folder; equal input, equal bytes.

    `version` is another one than the build gave it; `sbom` is CycloneDX in JSON, which goes in.
    """
    tag = f"{pythons.interpreter_tag(python)}-{pythons.abi_tag(python)}-{platform_tag}"
    try:
        raw = wheel.read_wheel(raw_wheel)
        faults = [fault for file in raw.files if (fault := pythons.suffix_fault(file.path, python))]
        if faults:
            raise ProofError(
                f"{raw_wheel.name} can't be tagged {tag}",
                details=faults,
                hint="build it with the Python that the tag names",
            )
        more = {wheel.SBOM_FILE: sbom} if sbom else {}
        return wheel.write_wheel(wheel.retagged(raw, tag, version=version, more=more), out_dir)
    except wheel.WheelFormatError as err:
        raise ProofError(f"{raw_wheel.name} is not a wheel that can be tagged {tag}", found=str(err)) from err
