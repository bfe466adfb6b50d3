"""Runs a script on the emulated Pi of a target and Python, beside what the product puts there for a proof."""

import os
import tarfile
from pathlib import Path

from pibuild.build.catalogue import load_catalogue
from pibuild.build.container import container_run
from pibuild.build.context import open_context
from pibuild.build.schedule import make_artifacts
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.model import Request
from pibuild.trees.tree import pack


def run_on_device(
    target: str, python: str, script: Path, words: tuple[str, ...], site: Path, scratch: Path, *, beside=("cpython",)
):
    """Run a script with a site at /work/site and these recipes' artifacts; return its exit code and what it said."""
    environ = {key: value for key, value in os.environ.items() if key.startswith("PIBUILD_")}
    settings, console = load_settings({}, environ, scratch), Console()
    with open_context(settings, dict(os.environ), console) as context:
        catalogue = load_catalogue()
        registered = {one for release in catalogue.recipes["tflite-runtime"].releases for one in release.pythons}
        recipe = "tflite-runtime" if python in registered else None  # whose sources registries have
        plan = catalogue.plan(Request(target=target, python=python, recipe=recipe, version=None))
        artifacts = [one for one in plan.artifacts if one.recipe.name in beside]
        entries, _ = make_artifacts(plan, artifacts, plan.device, context)
        with tarfile.open(scratch / "site.tar", "w") as tar:
            tar.add(site, arcname=".")
        run = container_run(
            context,
            image=plan.device.reference,
            command=("bash", f"/work/check/{script.name}", *words),
            env=(*plan.wheel.env, ("PIBUILD_DEVICE_CPU", plan.target.device_cpu)),
            inputs=(
                *((one.recipe.device.format(python=python), entries[one.key].path) for one in artifacts),
                ("/work/site", scratch / "site.tar"),
                ("/work/check", pack(scratch / "script.tar", {script.name: script})),
            ),
        )
        said: list[str] = []
        with context.engine.container(run) as container:
            outcome = container.wait(said.append)
        return outcome.exit_code, "\n".join(said)
