"""How long nodes of a graph will take, by what they took before on this machine or on one that shares its work."""

from functools import cached_property

from pibuild.model import Artifact, Image
from pibuild.store.local import Store

_UNKNOWN_S = 60.0
"""An artifact that was never built: CPython takes about as long."""
CHECK_S = 10.0
"""The check of a toolchain."""
PROOF_S = 15.0
"""The verification and the proof of a wheel."""
_IMAGE_S = 45.0
_IMAGES_S = {"base": 15.0, "builder": 50.0, "toolchain": 90.0}
"""By the folder of the image in dockerfiles/, as measured on a machine with two processors."""


class Durations:
    """Wall times of past builds. They only order what is started, so a wrong one costs time and nothing else."""

    def __init__(self, store: Store) -> None:
        """Read nothing yet."""
        self._store = store

    def of(self, artifact: Artifact) -> float:
        """Return what an artifact's recipe took for its target, and for its Python if that is known, in seconds."""
        target = artifact.target.name if artifact.target else None
        name = artifact.recipe.name
        for key in ((name, target, artifact.python), (name, target, None), (name, None, None)):
            if key in self._past_s:
                return self._past_s[key]
        return _UNKNOWN_S

    def of_image(self, image: Image) -> float:
        """Return what an image takes, in seconds."""
        return _IMAGES_S.get(image.folder.name, _IMAGE_S)

    @cached_property
    def _past_s(self) -> dict[tuple[str, str | None, str | None], float]:
        """The longest past time by recipe, target and Python; also by recipe and target, and by recipe alone."""
        past_s: dict[tuple[str, str | None, str | None], float] = {}
        for facts in self._store.all_artifact_facts():
            recipe, wall_s = facts.get("recipe"), facts.get("wall_s")
            if isinstance(recipe, str) and isinstance(wall_s, int | float):
                target, python = facts.get("target"), facts.get("python")
                for key in ((recipe, target, python), (recipe, target, None), (recipe, None, None)):
                    past_s[key] = max(past_s.get(key, 0.0), float(wall_s))
        return past_s
