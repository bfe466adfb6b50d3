"""One command on the device: the container that it runs in, with the person's own terminal or pipes.

Knows what the container is given and what it leaves. Which Pi it is was decided by devices.
"""

from collections.abc import Sequence
from pathlib import Path

from pibuild.build.container import container_run
from pibuild.build.context import BuildContext
from pibuild.console import seconds, size
from pibuild.emulate.choose import Device
from pibuild.errors import OutOfMemoryError, ProofError, ResourceError
from pibuild.model import Image
from pibuild.store.local import Entry
from pibuild.trees.tree import pack

_ROOT = "/opt/pibuild/device"
_SCRIPT = Path(__file__).with_name("run.sh")


def start(
    path: Path,
    beside: Sequence[Path],
    command: Sequence[str],
    *,
    device: Device,
    image: Image,
    installed: Sequence[tuple[str, Entry]],
    context: BuildContext,
    is_terminal: bool,
) -> int:
    """Install a wheel on a device and run a command there, without a network; give its exit code.

    `beside` are the wheels that pip may take, `installed` (folder on the device, artifact). ProofError where pip does
    not install the wheel, ResourceError where memory or time runs out.
    """
    limits = context.limits
    with context.store.staging() as staging:
        run = container_run(
            context,
            image=image.reference,
            command=("bash", f"/work/run/{_SCRIPT.name}", path.name, *command),
            env=(
                ("HOME", "/work/build"),
                ("LC_ALL", "C.UTF-8"),
                ("TZ", "UTC"),
                ("PIBUILD_PYTHON", device.python),
                ("PIBUILD_DEVICE_CPU", device.model.cpu.qemu),
            ),
            inputs=(
                *((folder, entry.path) for folder, entry in installed),
                ("/work/wheels", pack(staging / "wheels.tar", {one.name: one for one in beside})),
                ("/work/run", pack(staging / "run.tar", {_SCRIPT.name: _SCRIPT})),
                (_ROOT, pack(staging / "kernel.tar", _kernel_files(device))),
            ),
            stdin="terminal" if is_terminal else "pipe",
        )
        context.console.note(f"▸ {path.name} on an emulated {device.title}")
        with context.engine.container(run) as container:
            outcome = container.attach()
            is_installed = container.has("/work/out/installed")
    if outcome.timed_out:
        raise ResourceError(f"Not done within {seconds(limits.deadline_s)}", hint="a longer --deadline")
    if outcome.out_of_memory:
        raise OutOfMemoryError(f"Out of memory at {size(limits.memory_bytes)}", hint="more --memory")
    if not is_installed:
        raise ProofError(
            f"{path.name} can't be installed on {device.title}",
            hint="pibuild verify tells what it is; wheels that it asks for are taken from its folder",
        )
    return outcome.exit_code


def _kernel_files(device: Device) -> dict[str, Path | bytes]:
    """Return the files that this model's kernel would show; the image has those of the target's own model."""
    cpu, name = device.model.cpu, device.model.full_name
    files = {"proc/cpuinfo": device.model.cpuinfo, "proc/device-tree/model": f"{name}\0"}
    if cpu.qemu != device.target.device_cpu:
        files["etc/ld.so.preload"] = f"/opt/pibuild/model/{cpu.machine}.so\n"
    return {name: text.encode() for name, text in files.items()}
