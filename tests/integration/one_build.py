"""Builds one small artifact in the base image: what a test starts, kills or starts twice.

usage: python -m tests.integration.one_build STORE SCRIPT [LIMIT=VALUE …]
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from pibuild.adapters.docker import Engine
from pibuild.adapters.mmdebstrap import Mmdebstrap
from pibuild.build import artifact as build
from pibuild.build import images
from pibuild.build.prove import pack
from pibuild.config.dockerfiles import load_base, load_images
from pibuild.config.project_files import folder_digest, project_folder
from pibuild.config.targets import load_targets
from pibuild.console import Console
from pibuild.model import Artifact, Image, Limits
from pibuild.store.local import Entry, Store
from tests.makers.plans import make_recipe, make_release


def base_image() -> Image:
    """The image that every other one stands on, as the product plans it."""
    target = next(iter(load_targets(project_folder("toolchains")).values()))
    return load_images(project_folder("dockerfiles"), target)["base"]


def ensure_base(engine: Engine, store: Store, console: Console) -> None:
    """Make the base image where the engine lacks it."""
    images.ensure(
        base_image(),
        base=load_base(project_folder("dockerfiles")),
        engine=engine,
        bootstrap=Mmdebstrap(dict(os.environ)),
        store=store,
        jobs=1,
        offline=False,
        console=console,
    )


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
    with store.lock(artifact.key, f"building {artifact.title}"):
        if entry := store.artifact(artifact.key):
            return entry
        engine = Engine(environ or dict(os.environ))
        engine.remove_containers(store.id, store.is_dead)
        with store.staging() as staging:
            inputs = [("/work/recipe", pack(staging / "recipe.tar", {"build.sh": script}))]
            plain = Limits(jobs=1, cpus=1, memory_bytes=500_000_000, deadline_s=120, uid=1234, gid=1234)
            return build.build(
                artifact,
                inputs,
                facts={},
                engine=engine,
                store=store,
                limits=replace(plain, **limits),
                console=console,
                again="pibuild --target pi-one --python 3.11",
            )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    own = Store(Path(sys.argv[1]), Console())
    own.sweep()
    try:
        print(one_build(own, Path(sys.argv[2]), Console()).path)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        own.close()
