"""What can be asked for, read from the project's files, and the plan that a person's settings ask for."""

from pathlib import Path

import pibuild
from pibuild.build.context import BuildContext
from pibuild.build.keys import proof_digest
from pibuild.build.planning import Catalogue
from pibuild.config.dockerfiles import load_images
from pibuild.config.project_files import project_folder
from pibuild.config.recipes import load_recipes
from pibuild.config.targets import load_targets
from pibuild.errors import UsageError
from pibuild.model import Plan, Request, Wheelhouse
from pibuild.sources.local_tree import identify, own_source


def load_catalogue() -> Catalogue:
    """Read targets, recipes and Dockerfiles."""
    targets = load_targets(project_folder("toolchains"))
    return Catalogue(
        targets=targets,
        recipes=load_recipes(Path(pibuild.__file__).parent / "recipes"),
        images={target.name: load_images(project_folder("dockerfiles"), target) for target in targets.values()},
        proof_digest=proof_digest(),
    )


def requested(catalogue: Catalogue, context: BuildContext) -> Plan | Wheelhouse:
    """Return the plan that the settings ask for, or with `with_dependencies` its wheelhouse."""
    plan = requested_plan(catalogue, context)
    return catalogue.wheelhouse(plan) if context.settings.with_dependencies else plan


def requested_plan(catalogue: Catalogue, context: BuildContext) -> Plan:
    """Return the plan of what the settings ask for; `source`, a person's own tree, is taken into the store for it.

    Raises UsageError if the target or the Python is not set, or if there is no such plan.
    """
    settings = context.settings
    for name, example in (("target", " or ".join(catalogue.targets)), ("python", "3.11")):
        if getattr(settings, name) is None:
            raise UsageError(f"No {name} is set", hint=f"--{name} {example}; pibuild list shows what there is")
    recipe, version, tree_dir = settings.recipe, settings.release, Path(settings.source or "").expanduser().absolute()
    if settings.source:
        recipe, version = identify(tree_dir, catalogue.recipes, recipe)
        if settings.release not in (None, version):
            raise UsageError(
                f"{tree_dir} is not {recipe} {settings.release}",
                found=f"{recipe} {version}",
                hint="leave --release out: the tree tells it",
            )
    request = Request(
        target=settings.target or "",
        python=settings.python or "",
        recipe=recipe,
        version=version,
        extras=settings.extras,
        without=("api-wheel",) if settings.no_api_wheel else (),
    )
    plan = catalogue.plan(request)
    if not settings.source:
        return plan
    return catalogue.plan(request, context.fetcher.take(own_source(plan), tree_dir))
