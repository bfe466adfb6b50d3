"""Builds one small artifact in the base image: what a test starts, kills or starts twice.

usage: python -m tests.integration.one_build STORE SCRIPT [LIMIT=VALUE …]
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from pibuild.adapters.docker import Engine
from pibuild.build.artifact import build_artifact
from pibuild.build.images import ensure_image
from pibuild.config.dockerfiles import as_here, load_images
from pibuild.config.project_files import folder_digest, project_folder
from pibuild.config.targets import load_targets
from pibuild.console import Console
from pibuild.model import Artifact, Image
from pibuild.signals import INTERRUPTED, raise_interrupts
from pibuild.store.local import Entry, Store
from tests.makers.contexts import make_context
from tests.makers.plans import make_recipe, make_release, make_run


def base_image() -> Image:
    """The image that every other one stands on, under the name that the engine has it under, or as it is planned."""
    target = next(iter(load_targets(project_folder("toolchains")).values()))
    image, engine = load_images(project_folder("dockerfiles"), target)["base"], Engine(dict(os.environ))
    return image if engine.image_id(image.locked) else as_here(image, engine.images(f"{image.locked}-"))


def ensure_base(engine: Engine, store: Store, console: Console) -> None:
    """Make the base image where the engine lacks it."""
    ensure_image(base_image(), make_context(store, console, engine=engine, environ=dict(os.environ)))


def one_build(store: Store, script: Path, console: Console, environ: dict[str, str] | None = None, **limits) -> Entry:
    """What the pipeline does for one artifact, with a script of the test's own."""
    recipe = make_recipe("small", folder=script.parent)
    artifact = Artifact(
        key=folder_digest(script),
        recipe=recipe,
        release=make_release(sources=(), files=(script,)),
        target=None,
        python=None,
        image=base_image(),
        env=(("PIBUILD", "1"),),
        needs=(),
    )
    context = make_context(store, console, environ=environ or dict(os.environ))
    context.limits = replace(make_run().limits, **{"memory_bytes": 500_000_000, "deadline_s": 120} | limits)
    with store.lock(artifact.key, f"building {artifact.title}"):
        return store.artifact(artifact.key) or build_artifact(artifact, {}, context)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job's children ignore it
    raise_interrupts()
    own = Store(Path(sys.argv[1]), Console())
    own.sweep()
    try:
        print(one_build(own, Path(sys.argv[2]), Console()).path)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        own.close()
