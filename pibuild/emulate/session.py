"""One command on the device: the container that it runs in, with the person's own terminal or pipes.

Passes files to the container and reads its results. `device_choice` selects the Pi. Trials of `verify --run` use such
containers, too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from pibuild.adapters.docker import Container
from pibuild.build.container import container_run
from pibuild.build.context import BuildContext
from pibuild.console import Console, seconds, size
from pibuild.emulate.device_choice import Device
from pibuild.emulate.transfer import WORKING_DIR, pack_copies, unpack_results
from pibuild.errors import OutOfMemoryError, ProofError, ResourceError, UsageError
from pibuild.files import folder_errors
from pibuild.model import Image, Run
from pibuild.store.local import Entry
from pibuild.trees.tree import pack

ROOT = "/opt/pibuild/device"
"""The folder whose files hide those of the container for a program on the device."""
_SMALL_PAGE_BYTES = 4096
ON_DEVICE = Path(__file__).with_name("on_device")
"""The folder of scripts that run there."""
_SHELL_SCRIPTS = ("prepare.sh", "run.sh", "try.sh")


def start(
    wheels: Sequence[Path],
    command: Sequence[str],
    *,
    device: Device,
    image: Image,
    installed: Sequence[tuple[str, Entry]],
    context: BuildContext,
    is_terminal: bool,
    copies: Mapping[str, Path],
    results: Sequence[PurePosixPath],
) -> int:
    """Install a wheel on a device and run a command there, without a network; return its exit code.

    The first of `wheels` is installed; pip may take its dependencies from the others. `installed` are pairs of a folder
    on the device and an artifact. `copies` are put into the working folder; `results` are brought into the current
    folder, even if the command fails.

    Raises ProofError if pip does not install the wheel, ResourceError if memory or time runs out, and UsageError if the
    command succeeds and does not leave a result.
    """
    limits, name = context.limits, wheels[0].name
    with context.store.staging() as staging:
        run = device_run(
            wheels,
            ("run.sh", name, *command),
            device=device,
            image=image,
            installed=installed,
            context=context,
            staging=staging,
            inputs=((str(WORKING_DIR), pack_copies(copies, staging / "copies.tar")),),
            stdin="terminal" if is_terminal else "pipe",
        )
        context.console.note(f"▸ {name} on an emulated {device.title}")
        with context.container(run) as container:
            outcome = container.attach()
            is_installed = container.has("/work/out/installed")
            missing = _collect(container, results, staging, context.console) if is_installed else []
    if outcome.timed_out:
        raise ResourceError(
            f"The command did not end within {seconds(limits.deadline_s)}", hint="set a longer --deadline"
        )
    if outcome.disk_full:
        raise ResourceError("The engine's disk is full", hint="make room: docker system prune, pibuild clean")
    if outcome.out_of_memory:
        raise OutOfMemoryError(f"Out of memory at {size(limits.memory_bytes)}", hint="set more --memory")
    if not is_installed:
        raise ProofError(
            f"{name} can't be installed on {device.title}",
            hint="run pibuild verify to see why; pip takes the dependencies from the wheel's folder",
        )
    if missing and outcome.exit_code == 0:
        raise UsageError(
            f"--collect: after the command there is no {', '.join(missing)}",
            hint="use paths relative to its working folder",
        )
    return outcome.exit_code


def device_run(
    wheels: Iterable[Path],
    command: Sequence[str],
    *,
    device: Device,
    image: Image,
    installed: Iterable[tuple[str, Entry]],
    context: BuildContext,
    staging: Path,
    scripts: Mapping[str, Path | bytes] | None = None,
    inputs: Sequence[tuple[str, Path]] = (),
    stdin: Literal["", "pipe", "terminal"] = "",
) -> Run:
    """Return the container of a device with wheels in /work/wheels, a script in /work/run and that script's arguments.

    `scripts` are further files of /work/run, and `staging` is a folder for the tars.
    """
    script, *arguments = command
    files: dict[str, Path | bytes] = {name: ON_DEVICE / name for name in _SHELL_SCRIPTS}
    files |= scripts or {}
    return container_run(
        context,
        image=image.reference,
        command=("bash", f"/work/run/{script}", *arguments),
        env=(
            ("HOME", "/work/build"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("PIBUILD_PYTHON", device.python),
            *device_env(device).items(),
        ),
        inputs=(
            *((folder, entry.path) for folder, entry in installed),
            ("/work/wheels", pack(staging / "wheels.tar", {wheel.name: wheel for wheel in wheels})),
            ("/work/run", pack(staging / "run.tar", files)),
            *inputs,
            *_kernel_inputs(device, staging),
        ),
        stdin=stdin,
    )


def _kernel_inputs(device: Device, staging: Path) -> Iterator[tuple[str, Path]]:
    """Yield the folders that a kernel's files are in, each with a tar: they can be written, the rest of ROOT can't."""
    for folder in ("etc", "proc"):
        begin = f"{folder}/"
        files = {name: text.encode() for name, text in kernel_files(device).items() if name.startswith(begin)}
        content = {name.removeprefix(begin): text for name, text in files.items()}
        yield f"{ROOT}/{folder}", pack(staging / f"kernel-{folder}.tar", content)


def device_env(device: Device) -> dict[str, str]:
    """Return the variables by which `device-run` emulates this model."""
    if device.target:
        return {"PIBUILD_DEVICE_CPU": device.target.device_cpu if device.is_stand_in else device.model.cpu.qemu}
    kernel = device.system.kernel_64 if device.system else ""
    if device.page_bytes > _SMALL_PAGE_BYTES:  # such a kernel is named for the Pi 5's chip, BCM2712
        kernel = kernel.replace("-v8", "-2712")
    return {
        "PIBUILD_DEVICE_CPU": device.model.cpu.qemu_64,
        "PIBUILD_PAGE_BYTES": str(device.page_bytes),
        "PIBUILD_KERNEL": kernel,
    }


def kernel_files(device: Device) -> dict[str, str]:
    """Return the files below ROOT that a model's kernel would show; the image has those of its target's own model."""
    cpu, model = device.model.cpu, device.model
    files = {
        "proc/cpuinfo": model.cpuinfo if device.target else model.cpuinfo_64,
        "proc/device-tree/model": f"{model.full_name}\0",
    }
    if device.is_stand_in:
        files["etc/ld.so.preload"] = f"/work/build/{cpu.machine}.so\n"  # of prepare.sh
    elif device.target and cpu.qemu != device.target.device_cpu:
        files["etc/ld.so.preload"] = f"/opt/pibuild/model/{cpu.machine}.so\n"
    return files


def _collect(container: Container, results: Sequence[PurePosixPath], staging: Path, console: Console) -> list[str]:
    """Bring results into the current folder, and return the paths that are missing, each with a warning."""
    missing = []
    for path in results:
        if not container.has(str(path)):
            console.warn(f"{path} does not exist on the device")
            missing.append(str(path))
            continue
        container.copy_out(str(path), staging / "results.tar")
        with folder_errors(Path.cwd()):
            unpack_results(staging / "results.tar", Path.cwd(), console.warn)
    return missing
