"""The emulated Pis on which a target's toolchain and wheels are proven: their names, emulator's settings and files."""

from collections.abc import Iterator
from pathlib import Path

from pibuild.config.pis import load_pis
from pibuild.model import ProofDevice, Target
from pibuild.trees.tree import pack

_PROC = "/opt/pibuild/device/proc"
"""The folder whose files a program on the device finds in /proc."""


def device_name(device: ProofDevice) -> str:
    """Return a device's name for people: `cortex-a76 with 16 KiB pages`."""
    return f"{device.cpu} with {device.page_bytes // 1024} KiB pages"


def device_names(target: Target) -> str:
    """Return the names of a target's devices; only that of the CPU if there is one."""
    return ", ".join(map(device_name, target.devices)) if target.further_devices else target.device_cpu


def device_env(target: Target, device: ProofDevice) -> tuple[tuple[str, str], ...]:
    """Return the variables by which `device-run` emulates a device of a target."""
    env = (("PIBUILD_DEVICE_CPU", device.cpu),)
    return (*env, ("PIBUILD_PAGE_BYTES", str(device.page_bytes))) if target.device_system else env


def device_inputs(target: Target, device: ProofDevice, staging: Path) -> Iterator[tuple[str, Path]]:
    """Yield folders of a device with tars of their files, which are made in `staging`.

    An image of a release's userland has no board's /proc/cpuinfo; a target's own image has that of its board.
    """
    if target.device_system:
        model = load_pis().model(device.model)
        files = {"cpuinfo": model.cpuinfo_64, "device-tree/model": f"{model.full_name}\0"}
        yield _PROC, pack(staging / "proc.tar", {name: text.encode() for name, text in files.items()})
