"""The recipes, targets and images of the project's files, and the plan that a person's settings ask for."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pibuild
from pibuild.build.context import BuildContext
from pibuild.build.keys import proof_digest
from pibuild.build.planning import Catalogue, request_faults
from pibuild.config.dockerfiles import target_images
from pibuild.config.project_files import project_folder
from pibuild.config.recipes import load_recipes
from pibuild.config.settings import Settings
from pibuild.config.targets import load_targets
from pibuild.errors import UsageError, raise_all
from pibuild.model import Plan, Request, Wheelhouse
from pibuild.sources.local_tree import identify, own_source


def load_catalogue(own_images: Collection[str] = ()) -> Catalogue:
    """Read targets, recipes and Dockerfiles.

    `own_images` are names of images that this machine made of other versions than their locks have.
    """
    targets, dockerfiles = load_targets(project_folder("toolchains")), project_folder("dockerfiles")
    return Catalogue(
        targets=targets,
        recipes=load_recipes(Path(pibuild.__file__).parent / "recipes"),
        images={target.name: target_images(dockerfiles, target, own=own_images) for target in targets.values()},
        proof_digest=proof_digest(),
    )


def requested(catalogue: Catalogue, context: BuildContext) -> Plan | Wheelhouse:
    """Return the plan that the settings ask for, or with `with_dependencies` its wheelhouse."""
    plan = requested_plan(catalogue, context)
    return catalogue.wheelhouse(plan) if context.settings.with_dependencies else plan


def requested_plan(catalogue: Catalogue, context: BuildContext) -> Plan:
    """Return the plan of what the settings ask for; `source`, a person's own tree, is taken into the store for it.

    Raises UsageError as `requested_wheel` does.
    """
    request = requested_wheel(catalogue, context.settings)
    plan = catalogue.plan(request)
    if not context.settings.source:
        return plan
    return catalogue.plan(request, context.fetcher.take(own_source(plan), _tree_dir(context.settings)))


def requested_wheel(catalogue: Catalogue, settings: Settings) -> Request:
    """Return what the settings ask for. Raises UsageError with all that is missing or does not exist."""
    request = Request(
        target=settings.target,
        python=settings.python,
        recipe=settings.recipe,
        version=settings.release,
        extras=settings.extras,
        without=("api-wheel",) if settings.no_api_wheel else (),
    )
    if settings.source:
        recipe, version = identify(_tree_dir(settings), catalogue.recipes, settings.recipe)
        request = replace(request, recipe=recipe, version=version)
        if settings.release not in (None, version):
            what = f"{_tree_dir(settings)} is not {recipe} {settings.release}"
            raise UsageError(what, found=f"{recipe} {version}", hint="leave out --release: the tree has its version")
    raise_all(request_faults(request, catalogue.targets, catalogue.recipes))
    return request


def _tree_dir(settings: Settings) -> Path:
    return Path(settings.source or "").expanduser().absolute()
