"""The toolchain's proof: the conformance set, compiled by its image and run on its target's device.

Knows how both containers are laid out, and what is remembered: that these two images, by the engine's digests, passed.
The programs, and how they are compiled, are in tests/conformance.
"""

from pathlib import Path
from typing import Any

from pibuild.build.container import Engine, follow
from pibuild.build.images import Ensured
from pibuild.build.prove import pack
from pibuild.console import Console, seconds
from pibuild.errors import BuildError, ImageError
from pibuild.files import json_digest
from pibuild.model import Limits, Run, Target
from pibuild.store.local import Store

_BUILD = "cd /work/src/conformance && bash build.sh /work/out; code=$?; times > /work/cpu; exit $code"
_RUN = "cd /work/in/out && device-run ./conformance; code=$?; times > /work/cpu; exit $code"


def check(
    target: Target,
    toolchain: Ensured,
    device: Ensured,
    *,
    programs_dir: Path,
    engine: Engine,
    store: Store,
    limits: Limits,
    console: Console,
    again: str,
) -> None:
    """Prove a toolchain's image with a device's, unless the store knows that these two have passed.

    ImageError where a program does not compile or a check fails: with its name, the last lines and the log.
    """
    programs = {f"conformance/{path.name}": path for path in sorted(programs_dir.iterdir()) if path.is_file()}
    facts: dict[str, Any] = {
        "name": f"conformance of the toolchain for {target.name}",
        "toolchain": {"reference": toolchain.reference, "id": toolchain.id},
        "device": {"reference": device.reference, "id": device.id, "cpu": target.device_cpu},
    }
    key = json_digest([facts, [[name, path.read_text()] for name, path in programs.items()]])
    if store.has_artifact(key):
        return
    with (
        store.lock(key, f"proving {toolchain.reference}"),
        console.step(f"proving {toolchain.reference} on an emulated {target.device_cpu}") as step,
        store.staging() as staging,
    ):
        if store.has_artifact(key):
            return
        cpu_s = 0.0
        source = ("/work/src", pack(staging / "programs.tar", programs))
        for image, command, inputs in (
            (toolchain, _BUILD, (source,)),
            (device, _RUN, (("/work/in", staging / "out.tar"),)),
        ):
            run = Run(
                image=image.reference,
                command=("bash", "-c", command),
                env=(("PIBUILD_JOBS", str(limits.jobs)), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")),
                inputs=inputs,
                uid=limits.uid,
                gid=limits.gid,
                memory_bytes=limits.memory_bytes,
                cpus=limits.cpus,
                deadline_s=limits.deadline_s,
                labels=store.labels,
            )
            with engine.container(run) as container:
                try:
                    cpu_s += follow(
                        container,
                        log_path=store.log_path(f"conformance-{target.name}"),
                        step=step,
                        limits=limits,
                        console=console,
                        staging=staging,
                        failed=f"The toolchain {toolchain.reference} is not fit for {target.name}",
                        again=again,
                        slug=f"conformance-{target.name}",
                    ).cpu_s
                except BuildError as error:
                    hint = "see what changed under dockerfiles/ or toolchains/: nothing is built with this image"
                    raise ImageError(error.what, details=error.details, log=error.log, hint=hint) from error
                if image is toolchain:
                    container.copy_out("/work/out", staging / "out.tar")
        store.put_artifact(key, staging / "out.tar", facts | {"cpu_s": cpu_s})
        step.detail = f"{seconds(cpu_s)} of CPU"
