"""Proving on the device: the wheel installed by its own Python's pip, imported, and run on an emulated Pi.

Knows what the device's container is given and what it leaves. What the machine can see in the file alone is verify's.
"""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pibuild.build.container import Engine, Spent, counted, follow, single_file
from pibuild.console import Console, seconds
from pibuild.errors import BuildError, ProofError
from pibuild.model import Limits, Plan, Run
from pibuild.store.local import Entry, Store


def prove(
    wheel_path: Path,
    plan: Plan,
    installed: tuple[tuple[str, Entry], ...],
    *,
    beside: Sequence[Path],
    check_dir: Path,
    models: Sequence[Path],
    engine: Engine,
    store: Store,
    limits: Limits,
    console: Console,
    again: str,
) -> tuple[dict[str, Any], Spent]:
    """Run the recipe's check on the device; give what it measured, with what pip `installed`, and what that cost.

    `installed` are (folder on the device, artifact), `beside` the wheels that pip finds with this one. ProofError with
    the check's last lines where it says no.
    """
    how = f", installed from {len(beside) + 1} wheels alone," if beside else ""
    with (
        console.step(f"proving {wheel_path.name}{how} on an emulated {plan.target.device_cpu}") as step,
        store.staging() as staging,
    ):
        pack(staging / "wheels.tar", {path.name: path for path in (*beside, wheel_path)})
        check = {path.name: path for path in check_dir.iterdir() if path.suffix in (".py", ".sh")}
        files = {f"models/{path.name}": path for path in models}
        pack(staging / "check.tar", check | files)
        run = Run(
            image=plan.device.reference,
            command=counted("/work/check/prove.sh"),
            env=(
                *plan.wheel.env,
                ("PIBUILD_DEVICE_CPU", plan.target.device_cpu),
                ("PIBUILD_CHECK", plan.wheel.recipe.proof),
                *((("PIBUILD_WHEELHOUSE", "1"),) if beside else ()),
                ("PIBUILD_PACKAGE", plan.wheel.recipe.package_name),
            ),
            inputs=(
                *((folder, entry.path) for folder, entry in installed),
                ("/work/wheels", staging / "wheels.tar"),
                ("/work/check", staging / "check.tar"),
            ),
            uid=limits.uid,
            gid=limits.gid,
            memory_bytes=limits.memory_bytes,
            cpus=limits.cpus,
            deadline_s=limits.deadline_s,
            labels=store.labels,
        )
        slug = f"proof-{plan.wheel.slug}"
        with engine.container(run) as container:
            try:
                spent = follow(
                    container,
                    log_path=store.log_path(slug),
                    step=step,
                    limits=limits,
                    console=console,
                    staging=staging,
                    failed=f"{wheel_path.name} does not run on the device",
                    again=again,
                    slug=plan.wheel.slug,
                )
            except BuildError as error:
                raise ProofError(error.what, details=error.details, hint=error.hint, log=error.log) from error
            container.copy_out("/work/out/result.json", staging / "result.tar")
            if beside:
                container.copy_out("/work/out/installed.txt", staging / "installed.tar")
        result: dict[str, Any] = json.loads(single_file(staging / "result.tar"))
        if beside:
            result["installed"] = single_file(staging / "installed.tar").split()
        step.detail = f"{seconds(spent.cpu_s)} of CPU"
    return result, spent


def pack(tar_path: Path, files: dict[str, Path]) -> Path:
    """Write a tar of files under these names; give its path."""
    with tarfile.open(tar_path, "w") as tar:
        for name, path in files.items():
            tar.add(path, arcname=name, recursive=False)
    return tar_path
