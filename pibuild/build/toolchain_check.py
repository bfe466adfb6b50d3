"""The toolchain's proof: the conformance set, compiled by its image and run on its target's device.

Knows how both containers are laid out, and which two images passed, by the engine's digests. The programs, and how they
are compiled, are in tests/conformance.
"""

from typing import Any

from pibuild.build.container import container_run, run_to_end, script_command
from pibuild.build.context import BuildContext
from pibuild.build.devices import device_env, device_name, device_names
from pibuild.build.images import PresentImage
from pibuild.config.project_files import own_files
from pibuild.console import seconds
from pibuild.errors import BuildError, ImageError
from pibuild.files import json_digest
from pibuild.model import Target
from pibuild.trees.tree import pack

_COMPILE = script_command("cd /work/src/conformance && bash build.sh /work/out")
_RUN = script_command("cd /work/in/out && device-run ./conformance")


def check_toolchain(target: Target, toolchain: PresentImage, device: PresentImage, context: BuildContext) -> None:
    """Prove a toolchain's image with a device's, unless the store knows that these two have passed.

    Raises ImageError if a program does not compile or a check fails, with its name, the last lines and the log.
    """
    store = context.store
    programs = {f"conformance/{path.name}": path for path in own_files(context.conformance_dir)}
    facts: dict[str, Any] = {
        "name": f"conformance of the toolchain for {target.name}",
        "toolchain": {"reference": toolchain.reference, "id": toolchain.id},
        "device": {"reference": device.reference, "id": device.id, "cpu": target.device_cpu},
    }
    if target.further_devices:
        facts["devices"] = [device_name(other) for other in target.devices]
    key = json_digest([facts, [[name, path.read_text()] for name, path in programs.items()]])
    if store.has_artifact(key):
        return
    with (
        store.lock(key, f"proving {toolchain.reference}"),
        context.console.step(f"proving {toolchain.reference} on an emulated {device_names(target)}") as step,
        store.staging() as staging,
    ):
        if store.has_artifact(key):
            return
        cpu_s = 0.0
        out_path = staging / "out.tar"
        source_path = pack(staging / "programs.tar", programs)
        compiler = (("PIBUILD_JOBS", str(context.limits.jobs)), ("PIBUILD_TRIPLE", target.triple))
        for image, command, tar, env, outputs in (
            (toolchain, _COMPILE, ("/work/src", source_path), compiler, {"/work/out": out_path}),
            *((device, _RUN, ("/work/in", out_path), device_env(target, other), {}) for other in target.devices),
        ):
            run = container_run(
                context,
                image=image.reference,
                command=command,
                env=(*env, ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")),
                inputs=(tar,),
            )
            try:
                cpu_s += run_to_end(
                    run,
                    context,
                    step=step,
                    log_name=f"conformance-{target.name}",
                    slug="",
                    failure=f"The toolchain {toolchain.reference} is not fit for {target.name}",
                    outputs=outputs,
                ).cpu_s
            except BuildError as error:
                hint = "check what changed in dockerfiles/ or toolchains/. pibuild builds nothing with this image"
                raise ImageError(error.what, details=error.details, log=error.log, hint=hint) from error
        store.put_artifact(key, out_path, facts | {"cpu_s": cpu_s})
        step.detail = f"{seconds(cpu_s)} of CPU"
