"""From a request to a plan: which recipe and release, which artifacts and images, and their keys.

Pure: reads no clock, no network and no engine; what recipes and targets say is passed in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

from packaging.version import Version

from pibuild.config.targets import find_target
from pibuild.errors import UsageError, nearest
from pibuild.files import json_digest
from pibuild.model import Artifact, Image, Plan, Recipe, Release, Request, Source, Target, Wheelhouse

_FORMAT = 1
"""Counts up when the layout of containers or artifacts changes, so that old artifacts are left alone."""

_ENV = (
    ("HOME", "/work/build"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("SOURCE_DATE_EPOCH", "1577836800"),
    ("PIBUILD", "1"),
    ("PIBUILD_BUILD_TRIPLE", "x86_64-linux-gnu"),
)


def make_plan(
    request: Request,
    *,
    recipes: Mapping[str, Recipe],
    targets: Mapping[str, Target],
    images: Mapping[str, Mapping[str, Image]],
    proof_digest: str,
    own: Source | None = None,
    version: str | None = None,
) -> Plan:
    """Decide a request; `images` gives each target's images by name, `proof_digest` stands for all that judges a wheel.

    `own` is a person's tree, or what a ref is this time, and goes in where the release's source of the same folder
    would. `version` is the wheel's, where it is not the release's.

    UsageError where the target, Python, recipe or version does not exist, or they don't go together.
    """
    target = find_target(request.target, targets)
    recipe, release, reason = _choice(request, target, recipes)
    release = _varied(request, recipe, release)
    if own:
        release = replace(release, sources=tuple(own if one.into == own.into else one for one in release.sources))
        reason = f"{recipe.name} {version or release.version}: what the tree says"
    made: dict[str, Artifact] = {}
    beside = tuple(
        _artifact(one, packages, target, request.python, recipes, images[target.name], made)
        for one in (recipes[name] for name in release.proven_with)
        for packages in (_release_for(one, request.python, release.version),)
    )
    extras = " ".join(sorted(set(request.extras)))
    wheel = _artifact(recipe, release, target, request.python, recipes, images[target.name], made, extras)
    device = images[target.name]["device"]
    return Plan(
        target=target,
        python=request.python,
        wheel=wheel,
        version=version or release.version,
        artifacts=tuple(made.values()),
        device=device,
        key=json_digest(
            {
                "artifact": wheel.key,
                "proven_with": [one.key for one in beside],
                "device": device.reference,
                "proof": proof_digest,
                "tag": target.platform_tag,
                "places": [
                    [source.name, [asdict(place) for place in source.places]]
                    for artifact in made.values()
                    for source in artifact.release.sources
                ],
            }
            | ({"version": version} if version else {})
        ),
        reason=reason,
    )


def make_wheelhouse(
    plan: Plan,
    *,
    recipes: Mapping[str, Recipe],
    targets: Mapping[str, Target],
    images: Mapping[str, Mapping[str, Image]],
    proof_digest: str,
) -> Wheelhouse:
    """Decide what pip wants beside a plan's wheel: for each dependency of its release the newest for its Python.

    UsageError where its recipe does not say what that is.
    """
    if not plan.wheel.release.dependencies:
        raise UsageError(
            f"The recipe of {plan.wheel.recipe.name} does not say what pip wants beside it",
            hint="leave --with-dependencies out",
        )
    named = [recipes[name] for name in plan.wheel.release.dependencies]
    compiled = tuple(
        make_plan(
            Request(target=plan.target.name, python=plan.python, recipe=one.name, version=None),
            recipes=recipes,
            targets=targets,
            images=images,
            proof_digest=proof_digest,
        )
        for one in named
        if one.proof
    )
    packages = tuple(
        _artifact(
            one,
            _release_for(one, plan.python, plan.wheel.release.version),
            plan.target,
            plan.python,
            recipes,
            images[plan.target.name],
            {},
        )
        for one in named
        if not one.proof
    )
    # What stands on the device for a proof in place of a wheel would hide from pip that the wheel is missing.
    brought = {name for one in named for name in (one.name, one.package_name)}
    return Wheelhouse(
        plan=plan,
        compiled=compiled,
        packages=packages,
        installed=tuple(one for one in on_device(plan) if one.recipe.name not in brought),
        key=json_digest({"wheels": [one.key for one in (plan, *compiled)], "packages": [one.key for one in packages]}),
    )


def on_device(plan: Plan) -> tuple[Artifact, ...]:
    """Give what stands on the device when a plan's wheel is proven."""
    return tuple(one for one in plan.artifacts if one.recipe.device and one is not plan.wheel)


def _varied(request: Request, recipe: Recipe, release: Release) -> Release:
    """Leave out the sources that are not wanted; UsageError where the recipe has none such, or not that extra."""
    offered = [name for name, _ in recipe.extras]
    if unknown := [name for name in request.extras if name not in offered]:
        raise UsageError(
            f"{recipe.name} makes no {unknown[0]!r} beside the wheel",
            expected=", ".join(offered) or "nothing",
            hint=nearest(unknown[0], offered),
        )
    for folder in request.without:
        if folder not in {source.into for source in release.sources}:
            raise UsageError(f"{recipe.name} {release.version} takes no {folder}", hint="leave that option out")
    return replace(release, sources=tuple(one for one in release.sources if one.into not in request.without))


def wheel_recipes(recipes: Mapping[str, Recipe]) -> list[Recipe]:
    """Give the recipes that end with a wheel for people."""
    return [recipe for recipe in recipes.values() if recipe.proof]


def _choice(request: Request, target: Target, recipes: Mapping[str, Recipe]) -> tuple[Recipe, Release, str]:
    names = [recipe.name for recipe in wheel_recipes(recipes)]
    only_beside = {name for recipe in recipes.values() for one in recipe.releases for name in one.dependencies}
    offered = [recipes[name] for name in names if name not in only_beside]
    if request.recipe is not None:
        if request.recipe not in names:
            raise UsageError(
                f"There is no recipe {request.recipe!r} that makes a wheel", hint=nearest(request.recipe, names)
            )
        offered = [recipes[request.recipe]]
    pairs = [
        (recipe, release)
        for recipe in offered
        for release in recipe.releases
        if request.version is not None or not release.unproven
    ]
    fitting = [pair for pair in pairs if request.python in pair[1].pythons]
    if not fitting:
        pythons = _in_order({python for _, release in pairs for python in release.pythons})
        raise UsageError(
            f"No recipe supports Python {request.python!r} on {target.name}",
            details=[f"Pythons: {', '.join(pythons)}"],
            hint=nearest(request.python, pythons),
        )
    if request.version is not None:
        versions = _in_order({release.version for _, release in fitting})
        fitting = [pair for pair in fitting if pair[1].version == request.version]
        if not fitting:
            raise UsageError(
                f"There is no release {request.version!r} for Python {request.python}",
                hint=nearest(request.version, versions),
            )
    recipe, release = max(fitting, key=lambda pair: Version(pair[1].version))
    why = "as asked" if request.version else f"the newest that supports Python {request.python} on {target.name}"
    return recipe, release, f"{recipe.name} {release.version}: {why}"


def _artifact(
    recipe: Recipe,
    release: Release,
    target: Target,
    python: str,
    recipes: Mapping[str, Recipe],
    images: Mapping[str, Image],
    made: dict[str, Artifact],
    extras: str = "",
) -> Artifact:
    """Plan one artifact and, before it, what it needs; each once."""
    if recipe.name in made:
        return made[recipe.name]
    extra_needs = () if target.neon else release.needs_without_neon
    needs = tuple(
        _artifact(needed, _release_for(needed, python), target, python, recipes, images, made)
        for needed in (recipes[name] for name in (*release.needs, *extra_needs))
    )
    own_target = target if "target" in recipe.per else None
    own_python = python if "python" in recipe.per else None
    image = images[recipe.image]
    env = (
        *_ENV,
        ("PIBUILD_VERSION", release.version),
        ("PIBUILD_TARGET", own_target.name if own_target else "machine"),
        *((("PIBUILD_PYTHON", own_python),) if own_python else ()),
        *(own_target.env if own_target else ()),
        *((("PIBUILD_EXTRAS", extras),) if extras else ()),
    )
    key = json_digest(
        {
            "format": _FORMAT,
            "recipe": release.digest,
            "image": image.reference,
            "env": env,
            "sources": sorted((source.into, source.tree) for source in release.sources),
            "needs": sorted((need.recipe.name, need.key) for need in needs),
        }
    )
    made[recipe.name] = Artifact(
        key=key, recipe=recipe, release=release, target=own_target, python=own_python, image=image, env=env, needs=needs
    )
    return made[recipe.name]


def _release_for(recipe: Recipe, python: str, version: str = "") -> Release:
    """Give the release of this version, where there is one, or the newest, for a Python."""
    fitting = [release for release in recipe.releases if not release.pythons or python in release.pythons]
    if not fitting:
        raise UsageError(f"{recipe.name} has no release for Python {python}", hint="add one to its recipe.yaml")
    return max(fitting, key=lambda release: (release.version == version, Version(release.version)))


def _in_order(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=Version)
