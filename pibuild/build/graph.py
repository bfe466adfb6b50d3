"""The order of artifacts and images: each once, after what it needs."""

from collections.abc import Callable, Iterable, Sequence
from graphlib import TopologicalSorter
from typing import TypeVar

from pibuild.model import Artifact, Image

T = TypeVar("T")


def with_needs(
    artifacts: Iterable[Artifact], is_available: Callable[[Artifact], object] | None = None
) -> tuple[Artifact, ...]:
    """Return artifacts and all that they need, what is needed first.

    An artifact that is available is left out, and so is what only it needs. `is_available` is called once for each of
    the artifacts, and for each need of those that are not available.
    """
    return _needed_first(artifacts, lambda artifact: artifact.key, lambda artifact: artifact.needs, is_available)


def with_parents(images: Iterable[Image], is_available: Callable[[Image], object] | None = None) -> tuple[Image, ...]:
    """Return images and their parents, parents first. Available images are left out as by with_needs."""
    return _needed_first(images, lambda image: image.reference, lambda image: image.parents, is_available)


def _needed_first(
    roots: Iterable[T],
    name: Callable[[T], str],
    needs: Callable[[T], Sequence[T]],
    is_available: Callable[[T], object] | None,
) -> tuple[T, ...]:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    reached: set[str] = set()
    missing: dict[str, T] = {}
    waiting = list(roots)
    for node in waiting:  # which grows meanwhile
        if name(node) in reached:
            continue
        reached.add(name(node))
        if is_available and is_available(node):
            continue
        missing[name(node)] = node
        sorter.add(name(node), *map(name, needs(node)))
        waiting += needs(node)
    return tuple(missing[key] for key in sorter.static_order() if key in missing)
