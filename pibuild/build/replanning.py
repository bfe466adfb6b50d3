"""A plan with new keys, after this machine made images whose packages are not those of their locks."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TypeVar

from pibuild.build.keys import artifact_key, plan_key, wheelhouse_key
from pibuild.config.dockerfiles import as_here
from pibuild.model import Artifact, Plan, Wheelhouse

T = TypeVar("T", bound=Plan | Wheelhouse)


def artifacts_in(artifacts: Iterable[Artifact], own: Collection[str]) -> tuple[Artifact, ...]:
    """Return artifacts and their needs as they are made in the images of this machine, with their keys.

    `own` are names of images that this machine made of other versions than their locks have.
    """
    moved: dict[str, Artifact] = {}

    def move(artifact: Artifact) -> Artifact:
        if artifact.key not in moved:
            needs, image = tuple(move(need) for need in artifact.needs), as_here(artifact.image, own)
            if (needs, image) != (artifact.needs, artifact.image):
                key = artifact_key(artifact.release, image, artifact.env, needs)
                moved[artifact.key] = replace(artifact, key=key, image=image, needs=needs)
            else:
                moved[artifact.key] = artifact
        return moved[artifact.key]

    return tuple(move(artifact) for artifact in artifacts)


def plan_in(plan: T, own: Collection[str]) -> T:
    """Return a plan or wheelhouse as it is made in the images of this machine, with its key; `own` as above."""
    if isinstance(plan, Wheelhouse):
        compiled: tuple[Plan, ...] = tuple(plan_in(part, own) for part in plan.compiled)
        packages, main = artifacts_in(plan.packages, own), plan_in(plan.plan, own)
        installed = artifacts_in(plan.installed, own)
        if (compiled, packages, main) == (plan.compiled, plan.packages, plan.plan):
            return plan
        key = wheelhouse_key((main, *compiled), packages)
        return replace(plan, plan=main, compiled=compiled, packages=packages, installed=installed, key=key)
    artifacts, device = artifacts_in(plan.artifacts, own), as_here(plan.device, own)
    if (artifacts, device) == (plan.artifacts, plan.device):
        return plan
    wheel = artifacts[-1]
    key = plan_key(wheel, plan.version, artifacts, plan.target, device, plan.proof_digest)
    return replace(plan, wheel=wheel, artifacts=artifacts, device=device, key=key)
