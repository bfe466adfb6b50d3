"""From a request to a plan: the recipe and release, the artifacts and the images.

Pure: it uses no clock, network, engine or store. Recipes, targets and images are passed in.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.version import Version

from pibuild.build.keys import artifact_key, plan_key, wheelhouse_key
from pibuild.config.pis import load_pis
from pibuild.config.python_versions import refuse_free_threaded, spelled_python
from pibuild.config.targets import find_target, width_note
from pibuild.errors import PibuildError, UsageError, collected, nearest, raise_all
from pibuild.model import Artifact, Image, Plan, Recipe, Release, Request, Source, Target, Wheelhouse

_ENV = (
    ("HOME", "/work/build"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("SOURCE_DATE_EPOCH", "1577836800"),
    ("PIBUILD", "1"),
    ("PIBUILD_BUILD_TRIPLE", "x86_64-linux-gnu"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything that can be planned."""

    targets: Mapping[str, Target]
    recipes: Mapping[str, Recipe]
    images: Mapping[str, Mapping[str, Image]]
    """By the target's name, then by the image's."""
    proof_digest: str
    """Digest of the files that judge a wheel."""

    def plan(self, request: Request, own: Source | None = None, version: str | None = None) -> Plan:
        """Return the plan of a request.

        `own` is a person's tree, or a ref's commit, and replaces the release's source of the same folder. `version` is
        the wheel's, if it is not the release's.

        Raises UsageError if the target, Python, recipe or version does not exist, or if they don't go together.
        """
        raise_all(request_faults(request, self.targets, self.recipes))
        target, python = find_target(request.target or "", self.targets), request.python or ""
        recipe, release, reason = choice(request, target, python, self.recipes)
        release = _varied(request, recipe, release)
        if own:
            release = replace(
                release, sources=tuple(own if source.into == own.into else source for source in release.sources)
            )
            reason = f"{recipe.name} {version or release.version}: the version of the tree"
        reason += width_note(request.target or "", target, self.targets)
        planner = _Planner(target=target, python=python, catalogue=self)
        for name in release.proven_with:
            planner.artifact(*self._proven_beside(name, target, python, release))
        wheel = planner.artifact(recipe, release, extras=" ".join(sorted(set(request.extras))))
        artifacts = tuple(planner.planned.values())
        device = self.images[target.name]["device"]
        return Plan(
            target=target,
            python=python,
            wheel=wheel,
            version=version or release.version,
            artifacts=artifacts,
            device=device,
            proof_digest=self.proof_digest,
            key=plan_key(wheel, version or release.version, artifacts, target, device, self.proof_digest),
            reason=reason,
        )

    def wheelhouse(self, plan: Plan) -> Wheelhouse:
        """Return a plan's wheel with its dependencies: for each one the newest release for the plan's Python.

        Raises UsageError if the recipe does not name the dependencies.
        """
        release = plan.wheel.release
        if not release.dependencies:
            raise UsageError(
                f"The recipe of {plan.wheel.recipe.name} names no dependencies", hint="leave out --with-dependencies"
            )
        named = [self.recipes[name] for name in release.dependencies]
        compiled = tuple(
            self.plan(Request(target=plan.target.name, python=plan.python, recipe=recipe.name, version=None))
            for recipe in named
            if recipe.proof
        )
        planner = _Planner(target=plan.target, python=plan.python, catalogue=self)
        packages = tuple(
            planner.artifact(*self._proven_beside(recipe.name, plan.target, plan.python, release))
            for recipe in named
            if not recipe.proof
        )
        # If an artifact were on the device instead of a wheel, pip would not notice that the wheel is missing.
        replaced = {name for recipe in named for name in (recipe.name, recipe.package_name)}
        return Wheelhouse(
            plan=plan,
            compiled=compiled,
            packages=packages,
            installed=tuple(artifact for artifact in on_device(plan) if artifact.recipe.name not in replaced),
            key=wheelhouse_key((plan, *compiled), packages),
        )

    def _proven_beside(self, name: str, target: Target, python: str, release: Release) -> tuple[Recipe, Release]:
        return self.recipes[name], _release_for(self.recipes[name], target, python, release.version)


def request_faults(
    request: Request, targets: Mapping[str, Target], recipes: Mapping[str, Recipe]
) -> list[PibuildError]:
    """Return an error for each part of a request that is missing or does not exist."""
    faults: list[PibuildError] = []
    target = None
    if request.target is None:
        hint = f"{' or '.join(f'--target {name}' for name in targets)}; `pibuild list` shows the Pis of each"
        faults.append(UsageError("No target is set", hint=hint))
    else:
        with collected(faults):
            target = find_target(request.target, targets)
    names = [recipe.name for recipe in recipes.values() if recipe.proof]
    if request.recipe not in (None, *names):
        what = f"There is no recipe {request.recipe!r} that makes a wheel"
        faults.append(UsageError(what, hint=nearest(request.recipe or "", names)))
    offered = _offered(request.recipe if request.recipe in names else None, recipes)
    releases = [release for recipe in offered for release in recipe.releases]
    if target:
        here = [release for release in releases if release.is_for(target)]
        if not here:
            faults.append(_not_for(target, request.recipe or "", releases, offered, recipes))
        releases = here or releases
    pythons = supported_pythons(releases)
    if request.python is None:
        hint = f"--python, and the version that `python3 --version` prints on the Pi: one of {', '.join(pythons)}"
        faults.append(UsageError("No Python is set", hint=hint))
    elif request.python not in pythons:
        with collected(faults):
            refuse_free_threaded(request.python)
            details = [
                f"{recipe.name}: {', '.join(own)}"
                for recipe in offered
                if (own := supported_pythons(release for release in recipe.releases if release in releases))
            ]
            subject = f"No release of {request.recipe}" if request.recipe in names else "No recipe"
            where = f" on {target.name}" if target and request.python in _all_pythons(offered) else ""
            what = f"{subject} supports Python {request.python!r}{where}"
            raise UsageError(what, details=details, hint=nearest_pythons(request.python, pythons))
    versions = _versions(releases)
    if request.version not in (None, *versions):
        hint = nearest(request.version or "", versions)
        faults.append(UsageError(f"There is no release {request.version!r}", hint=hint))
    return faults


def _all_pythons(recipes: Iterable[Recipe]) -> list[str]:
    return supported_pythons(release for recipe in recipes for release in recipe.releases)


def _not_for(
    target: Target, name: str, releases: Sequence[Release], offered: Sequence[Recipe], recipes: Mapping[str, Recipe]
) -> UsageError:
    """Return why no release of a recipe can be built for a target, and which recipes can."""
    others = sorted({other for release in releases for other in release.targets or ()})
    possible = [
        recipe.name
        for recipe in _offered(None, recipes)
        if recipe not in offered and any(release.is_for(target) for release in recipe.releases)
    ]
    return UsageError(
        f"{name or 'No recipe'} can't be built for {target.name}: it is for {' and '.join(others)} only",
        hint=" or ".join([*(f"--target {other}" for other in others), *(f"--recipe {other}" for other in possible)]),
    )


def on_device(plan: Plan) -> tuple[Artifact, ...]:
    """Return the artifacts that are on the device when a plan's wheel is proven."""
    return tuple(artifact for artifact in plan.artifacts if artifact.recipe.device and artifact is not plan.wheel)


def _varied(request: Request, recipe: Recipe, release: Release) -> Release:
    """Return a release without unwanted sources. Raises UsageError for an unknown source or extra."""
    for name in request.extras:
        if name not in recipe.extras:
            hint = nearest(name, [*recipe.extras]) or "leave out --with"
            raise UsageError(f"--with has no value {name!r} for {recipe.name}", hint=hint)
    for folder in request.without:
        if folder not in {source.into for source in release.sources}:
            raise UsageError(f"{recipe.name} {release.version} has no source {folder}", hint="leave out that option")
    return replace(release, sources=tuple(source for source in release.sources if source.into not in request.without))


def supported_pythons(releases: Iterable[Release]) -> list[str]:
    """Return the Pythons that any of the releases supports, the oldest first."""
    return sorted({python for release in releases for python in release.pythons}, key=Version)


def _versions(releases: Iterable[Release]) -> list[str]:
    return sorted({release.version for release in releases}, key=Version)


def _offered(name: str | None, recipes: Mapping[str, Recipe]) -> list[Recipe]:
    """Return the recipe of this name, or without a name all that make more than a dependency of others."""
    if name is not None:
        return [recipes[name]]
    only_beside = {name for recipe in recipes.values() for release in recipe.releases for name in release.dependencies}
    return [recipe for recipe in recipes.values() if recipe.proof and recipe.name not in only_beside]


def choice(request: Request, target: Target, python: str, recipes: Mapping[str, Recipe]) -> tuple[Recipe, Release, str]:
    """Return the recipe and release of a request whose parts exist, and why it is this one.

    Raises UsageError if they don't go together: the release does not support the Python, or none is proven.
    """
    pairs = [(recipe, release) for recipe in _offered(request.recipe, recipes) for release in recipe.releases]
    asked = [pair for pair in pairs if request.version in (None, pair[1].version)]
    fitting = [pair for pair in asked if python in pair[1].pythons and pair[1].is_for(target)]
    if not fitting:
        others = _versions(release for _, release in pairs if python in release.pythons and release.is_for(target))
        here = [release for _, release in asked if release.is_for(target)]
        where = "" if here and not any(python in release.pythons for _, release in asked) else f" on {target.name}"
        raise UsageError(
            f"Release {request.version} does not support Python {python}{where}",
            expected=f"Python {', '.join(supported_pythons(here))}" if here else "",
            hint=f"another Python, or for this one the release {' or '.join(others)}",
        )
    proven = [pair for pair in fitting if pair[1].is_proven_on(target)]
    if request.version is None and not proven:
        untested = dict.fromkeys(f"{release.version} ({recipe.name})" for recipe, release in fitting)
        raise UsageError(
            f"No release for Python {python} is proven on {target.name}",
            hint=f"--release {' or '.join(untested)} builds and tests it; in a matrix, `versions:` does",
        )
    replaced = {recipe.replaces for recipe, _ in proven or fitting}
    current = [pair for pair in proven or fitting if pair[0].name not in replaced]
    recipe, release = max(current, key=lambda pair: Version(pair[1].version))
    why = f"the newest that is proven for Python {python} on {target.name}"
    if request.version is not None:
        why = "as asked" if proven else f"as asked; it is untested for Python {python} on {target.name}"
    return recipe, release, f"{recipe.name} {release.version}: {why}"


def nearest_pythons(python: str, supported: Sequence[str]) -> str:
    """Return the supported Pythons next to one that is not supported: the one before and the one after it.

    Each is named with the releases of Raspberry Pi OS that have it. `cp311` and `3.11.2` are spellings of 3.11; any
    other text gets all that are supported.
    """

    def systems(version: str) -> str:
        pythons = {system.name: [python.version for python in system.pythons] for system in load_pis().systems}
        return ", ".join(name for name, versions in pythons.items() if version in versions)

    if (meant := spelled_python(python)) in supported:
        return f"--python {meant}"
    if not re.fullmatch(r"\d+\.\d+", python):
        return f"one of: {', '.join(supported)}" if supported else ""
    ordered = sorted(supported, key=Version)
    before = [version for version in ordered if Version(version) < Version(python)][-1:]
    after = [version for version in ordered if Version(version) > Version(python)][:1]
    choices = [f"{version} ({systems(version) or 'no system'})" for version in before + after]
    where = f"the Python of {systems(python)}" if systems(python) else "on no release of Raspberry Pi OS"
    return f"{python} is {where}; nearest: {' or '.join(choices)}"


@dataclass(kw_only=True)
class _Planner:
    """Plans artifacts for one target and Python, each once."""

    target: Target
    python: str
    catalogue: Catalogue
    planned: dict[str, Artifact] = field(default_factory=dict)
    """By the recipe's name, each artifact after those that it needs."""

    def artifact(self, recipe: Recipe, release: Release, extras: str = "") -> Artifact:
        """Plan an artifact and, before it, what it needs."""
        if recipe.name in self.planned:
            return self.planned[recipe.name]
        needed = (*release.needs, *(() if self.target.neon else release.needs_without_neon))
        recipes = [self.catalogue.recipes[name] for name in needed]
        needs = tuple(self.artifact(need, _release_for(need, self.target, self.python)) for need in recipes)
        target = self.target if "target" in recipe.per else None
        python = self.python if "python" in recipe.per else None
        image = self.catalogue.images[self.target.name][recipe.image]
        env = (
            *_ENV,
            ("PIBUILD_VERSION", release.version),
            ("PIBUILD_TARGET", target.name if target else "machine"),
            *((("PIBUILD_PYTHON", python),) if python else ()),
            *(target.env if target else ()),
            *((("PIBUILD_EXTRAS", extras),) if extras else ()),
        )
        self.planned[recipe.name] = Artifact(
            key=artifact_key(release, image, env, needs),
            recipe=recipe,
            release=release,
            target=target,
            python=python,
            image=image,
            env=env,
            needs=needs,
        )
        return self.planned[recipe.name]


def _release_for(recipe: Recipe, target: Target, python: str, version: str = "") -> Release:
    """Return the release of this version for a target and a Python, or else the newest."""
    fitting = [
        release
        for release in recipe.releases
        if release.is_for(target) and (not release.pythons or python in release.pythons)
    ]
    if not fitting:
        what = f"{recipe.name} has no release for {target.name} and Python {python}"
        raise UsageError(what, hint="add one to its recipe.yaml")
    return max(fitting, key=lambda release: (release.version == version, Version(release.version)))
