"""Runs a script on the emulated Pi of a target and Python, beside what the product puts there for a proof."""

import os
import tarfile
from pathlib import Path

from pibuild.build import schedule as pipeline
from pibuild.build.assembly import load_catalogue, make_ports, open_store
from pibuild.build.prove import pack
from pibuild.config.settings import load_settings
from pibuild.console import Console
from pibuild.model import Request, Run


def run_on_device(
    target: str, python: str, script: Path, words: tuple[str, ...], site: Path, scratch: Path, *, beside=("cpython",)
):
    """Run a script with a site at /work/site and these recipes' artifacts; give its exit code and what it said."""
    environ = {key: value for key, value in os.environ.items() if key.startswith("PIBUILD_")}
    settings, console = load_settings({}, environ, scratch), Console()
    store = open_store(settings, console)
    try:
        ports = make_ports(settings, dict(os.environ), store, console)
        plan = load_catalogue().plan(Request(target=target, python=python, recipe=None, version=None))
        made, installed = {}, []
        for artifact in plan.artifacts:
            if artifact.recipe.name in beside:
                entry = pipeline.make_artifact(artifact, made, ports, "pibuild")
                installed.append((artifact.recipe.device.format(python=python), entry.path))
        pipeline.ensure_image(plan.device, ports)
        with tarfile.open(scratch / "site.tar", "w") as tar:
            tar.add(site, arcname=".")
        pack(scratch / "script.tar", {script.name: script})
        run = Run(
            image=plan.device.reference,
            command=("bash", f"/work/check/{script.name}", *words),
            env=(*plan.wheel.env, ("PIBUILD_DEVICE_CPU", plan.target.device_cpu)),
            inputs=(*installed, ("/work/site", scratch / "site.tar"), ("/work/check", scratch / "script.tar")),
            uid=1234,
            gid=1234,
            memory_bytes=2_000_000_000,
            cpus=2,
            deadline_s=600,
            labels=store.labels,
        )
        said: list[str] = []
        with ports.engine.container(run) as container:
            outcome = container.wait(said.append)
        return outcome.exit_code, "\n".join(said)
    finally:
        store.close()
