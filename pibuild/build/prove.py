"""Proving: the raw wheel gets its tag, is verified as a file, and is installed and run on the emulated Pi.

Passes files to the device's container and reads its results. The rules for a wheel's files are in verify/.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, parse_wheel_filename

from pibuild.build.artifact_graph import run_nodes
from pibuild.build.container import container_run, run_to_end, script_command
from pibuild.build.container_outputs import single_file
from pibuild.build.context import BuildContext
from pibuild.build.devices import device_env, device_inputs, device_name
from pibuild.build.executor import Node
from pibuild.build.keys import proof_models
from pibuild.console import Console, seconds
from pibuild.errors import BuildError, ProofError
from pibuild.model import Artifact, Plan, ProofDevice, Spent
from pibuild.store.local import Entry
from pibuild.trees.tree import pack, pack_gzip
from pibuild.verify.own_wheel import verify_extra, verify_wheel
from pibuild.wheels.relabel import relabel_built_wheel

_BROUGHT_BY_PYTHON = frozenset({"pip", "setuptools", "wheel"})
"""Packages that may come with Python, so that pip doesn't need to install them."""


def tagged_and_verified(
    plan: Plan, raw_dir: Path, out_dir: Path, console: Console
) -> tuple[Path, list[dict[str, Any]]]:
    """Write the wheel of an unpacked artifact under its tag and verify it; return its path and the checks.

    Raises ProofError if there is not exactly one raw wheel, or if a check fails.
    """
    with console.step(f"retagging and verifying the wheel of {plan.title}"):
        wheel_path = tagged(plan, raw_dir, out_dir)
        checks = verify_wheel(wheel_path, target=plan.target, python=plan.python, symbols_dir=raw_dir / "symbols")
    return wheel_path, [asdict(check) for check in checks]


def tagged(plan: Plan, raw_dir: Path, out_dir: Path) -> Path:
    """Write the wheel of an unpacked artifact under its tag; return its path. Equal artifacts give equal bytes.

    Raises ProofError if there is not exactly one raw wheel.
    """
    from pibuild.build.sbom import sbom  # noqa: PLC0415  its library takes time to import

    raw = sorted((raw_dir / "wheel").glob("*.whl"))
    if len(raw) != 1:
        raise ProofError(f"{plan.title} made {len(raw)} wheels", expected="one wheel, in wheel/")
    return relabel_built_wheel(
        raw[0],
        python=plan.python,
        platform_tag=plan.target.platform_tag,
        out_dir=out_dir,
        version=plan.version if plan.version != plan.wheel.release.version else None,
        sbom=sbom(plan),
    )


def packed_extras(plan: Plan, raw_dir: Path, out_dir: Path, console: Console) -> list[Path]:
    """Verify the extras of a wheel and pack the folder of each under a name with recipe, version and target."""
    packed = []
    for folder in sorted((raw_dir / "extras").glob("*")):
        name = extra_name(plan, folder.name)
        with console.step(f"verifying and packing {name}"):
            verify_extra(folder, target=plan.target, symbols_dir=raw_dir / "symbols" / folder.name)
            packed.append(pack_gzip(folder, out_dir / name))
    return packed


def extra_name(plan: Plan, extra: str) -> str:
    """Return the file name of what was made beside a plan's wheel."""
    return f"{plan.wheel.recipe.name}-{plan.wheel.release.version}-{extra}-{plan.target.platform_tag}.tar.gz"


def prove_on_device(
    wheel_path: Path,
    plan: Plan,
    installed: Sequence[Artifact],
    entries: Mapping[str, Entry],
    context: BuildContext,
    beside: Sequence[Path] = (),
) -> tuple[dict[str, Any], Spent]:
    """Install a wheel on each of its target's devices, import it and run the recipe's check.

    Return the measurements of the first device, and the cost of all devices. If there are others, the result has the
    names of all `devices`; instructions are counted on the first alone. With more than one job, several devices run at
    once.

    `installed` are the artifacts that stand on the device, `entries` has them by key, and `beside` are the wheels that
    pip may take as well. With such wheels the result has what pip `installed`.

    Raises ProofError with the check's last lines if it fails.
    """
    devices, began_s = plan.target.devices, context.clock()
    proofs: dict[ProofDevice, tuple[dict[str, Any], Spent]] = {}

    def prove_on(device: ProofDevice) -> None:
        is_counted = device == devices[0]
        proofs[device] = _proof_on(device, wheel_path, plan, installed, entries, context, beside, is_counted=is_counted)

    run_nodes([Node(name=device_name(device), run=partial(prove_on, device)) for device in devices], context)
    result, _ = proofs[devices[0]]
    if len(devices) > 1:
        result["devices"] = [device_name(device) for device in devices]
    cpu_s = sum(spent.cpu_s for _, spent in proofs.values())
    return result, Spent(wall_s=round(context.clock() - began_s, 2), cpu_s=cpu_s)


def _proof_on(
    device: ProofDevice,
    wheel_path: Path,
    plan: Plan,
    installed: Sequence[Artifact],
    entries: Mapping[str, Entry],
    context: BuildContext,
    beside: Sequence[Path],
    *,
    is_counted: bool,
) -> tuple[dict[str, Any], Spent]:
    """Prove a wheel on one device; return its measurements and its cost."""
    how = f", installed from {len(beside) + 1} wheels alone," if beside else ""
    where, log_name = device.cpu, f"proof-{plan.wheel.slug}"
    if plan.target.further_devices:
        where = device_name(device)
        log_name = "-".join([log_name, *where.split()])
    with (
        context.console.step(f"proving {wheel_path.name}{how} on an emulated {where}") as step,
        context.store.staging() as staging,
    ):
        scripts = {path.name: path for path in context.device_dir.iterdir() if path.suffix in (".py", ".sh")}
        models = {f"models/{path.name}": path for path in proof_models()}
        run = container_run(
            context,
            image=plan.device.reference,
            command=script_command("bash /work/check/prove.sh"),
            env=(
                *plan.wheel.env,
                *device_env(plan.target, device),
                *(() if is_counted else (("PIBUILD_UNCOUNTED", "1"),)),
                ("PIBUILD_CHECK", plan.wheel.recipe.proof),
                *((("PIBUILD_WHEELHOUSE", "1"),) if beside else ()),
                ("PIBUILD_PACKAGE", plan.wheel.recipe.package_name),
            ),
            inputs=(
                *(
                    (artifact.recipe.device.format(python=plan.python), entries[artifact.key].path)
                    for artifact in installed
                ),
                ("/work/wheels", pack(staging / "wheels.tar", {path.name: path for path in (*beside, wheel_path)})),
                ("/work/check", pack(staging / "check.tar", scripts | models)),
                *device_inputs(plan.target, device, staging),
            ),
        )
        outputs = {"/work/out/result.json": staging / "result.tar"}
        if beside:
            outputs["/work/out/installed.txt"] = staging / "installed.tar"
        try:
            spent = run_to_end(
                run,
                context,
                step=step,
                log_name=log_name,
                slug=plan.wheel.slug,
                failure=f"{wheel_path.name} does not run on the device",
                outputs=outputs,
            )
        except BuildError as error:
            raise ProofError(error.what, details=error.details, log=error.log, container=error.container) from error
        context.count(plan.key, spent)
        result: dict[str, Any] = json.loads(single_file(staging / "result.tar"))
        if beside:
            result["installed"] = single_file(staging / "installed.tar").split()
        step.detail = f"{seconds(spent.cpu_s)} of CPU"
    return result, spent


def check_minimal(wheels: Iterable[Path], installed: Iterable[str]) -> None:
    """Raise ProofError with the wheels of a wheelhouse that pip did not install, given its `name==version` lines."""
    names = {canonicalize_name(line.partition("==")[0]) for line in installed} | _BROUGHT_BY_PYTHON
    if unused := [path.name for path in wheels if parse_wheel_filename(path.name)[0] not in names]:
        raise ProofError(
            f"pip does not need {len(unused)} wheel(s) of the wheelhouse",
            found=", ".join(sorted(unused)),
            hint="remove them from `dependencies` in the recipe",
        )
