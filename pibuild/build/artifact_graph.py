"""Artifacts, with what they need, as a graph: images, sources, the toolchain's check, and one node for each artifact.

Decides what each node waits for, how long it will take, and how much runs at once. What a node does is a module of its
own: images, toolchain_check, artifact; the fetcher brings sources.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pibuild.build.artifact import build_artifact
from pibuild.build.context import BuildContext
from pibuild.build.durations import CHECK_S, Durations
from pibuild.build.executor import Budget, Node, run_graph
from pibuild.build.graph import with_parents
from pibuild.build.images import ensure_image, is_present
from pibuild.build.toolchain_check import check_toolchain
from pibuild.config.dockerfiles import as_here
from pibuild.errors import PibuildError, SourceError
from pibuild.model import Artifact, Image, Plan, Source
from pibuild.sources.fetcher import is_stored, joined, with_shared_archives
from pibuild.store.local import Entry

_GB = 1_000_000_000
_MEMORY_PER_JOB_GB = 0.5
"""Memory of a C compiler, and of most C++ compilers. A recipe that needs more sets `memory_gb`."""


class ImageChangedError(PibuildError):
    """An image was made of other versions than its lock has, so the keys differ from the planned ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactGraph:
    """The missing artifacts of a plan, and those that the store has."""

    plan: Plan
    """For its target and its device."""
    missing: Sequence[Artifact]
    context: BuildContext
    entries: dict[str, Entry] = field(default_factory=dict)
    """By key; each node of an artifact adds its own."""

    def make(self) -> None:
        """Make everything that is missing.

        Raises ImageChangedError if images of this machine are not as planned, after what does not need them is made;
        else the first error.
        """
        context = self.context
        run_nodes(self.nodes(), context)

    def nodes(self) -> list[Node]:
        """Return the graph's nodes, in an order in which they can run one by one."""
        fetched = source_nodes(sources_of(self.missing), self.context)
        durations = Durations(self.context.store)
        images = (*(artifact.image for artifact in self.missing), self.plan.device)
        toolchain = next((artifact.image for artifact in self.missing if artifact.recipe.image == "toolchain"), None)
        nodes = [*image_nodes(images, self.context, durations), *fetched]
        if toolchain:
            nodes.append(self._check_node(toolchain))
        nodes += [self._artifact_node(artifact, fetched, durations) for artifact in self.missing]
        if toolchain and self.context.settings.images.push:
            nodes.append(self._sharing_node(toolchain))
        return nodes

    def _check_node(self, toolchain: Image) -> Node:
        context, target = self.context, self.plan.target

        def check() -> None:
            compiler, emulator = (ensure_image(image, context) for image in (toolchain, self.plan.device))
            with context.watch.timed("images"), context.once(f"conformance of {compiler.id}"):
                check_toolchain(target, compiler, emulator, context)

        return Node(
            name=_check_name(toolchain),
            run=check,
            needs=(toolchain.reference, self.plan.device.reference),
            expected_s=CHECK_S,
        )

    def _sharing_node(self, toolchain: Image) -> Node:
        """Return the node that uploads images, for which nothing waits."""
        context = self.context

        def share() -> None:
            for image in with_parents([toolchain, self.plan.device]):
                context.image_registry.push(as_here(image, context.own_images.names))

        return Node(name=f"sharing of {toolchain.reference}", run=share, needs=(_check_name(toolchain),))

    def _artifact_node(self, artifact: Artifact, fetched: Sequence[Node], durations: Durations) -> Node:
        context, trees = self.context, {source.tree for source in artifact.release.sources}

        def build() -> None:
            if (made := ensure_image(artifact.image, context).reference) != artifact.image.reference:
                raise ImageChangedError(f"{artifact.image.reference} is {made} on this machine")
            with context.store.lock(artifact.key, f"building {artifact.title}"), context.once(artifact.key):
                # another pibuild may have built it meanwhile
                entry = context.store.artifact(artifact.key) or build_artifact(artifact, self.entries, context)
                self.entries[artifact.key] = entry

        recipe = artifact.recipe
        return Node(
            name=artifact.key,
            run=build,
            # no artifact is built with an image that has not passed the conformance set
            needs=(
                artifact.image.reference,
                _check_name(artifact.image),
                *(node.name for node in fetched if trees.intersection(node.name.split())),
                *(need.key for need in artifact.needs),
            ),
            expected_s=durations.of(artifact),
            memory_bytes=int(max(recipe.memory_gb, _MEMORY_PER_JOB_GB * context.limits.jobs) * _GB),
        )


def run_nodes(nodes: Sequence[Node], context: BuildContext) -> None:
    """Run nodes within what the settings allow.

    Raises the first error after all that does not need the failed node is done; of sources, one that names all that are
    missing.
    """
    with context.console.total("steps") as total:
        errors = run_graph(
            nodes,
            budget(context),
            stop=context.remove_own_containers,
            on_error=lambda _, error: _report(error, context),
            on_progress=lambda progress: total.show(progress.done, progress.nodes, progress.left_s),
        )
    if unfetched := [error for error in errors if isinstance(error, SourceError) and error.unfetched]:
        raise joined(unfetched)
    if errors:
        raise errors[0]


def budget(context: BuildContext) -> Budget:
    """Return the limits of the settings: one node more than jobs, because configure scripts also wait for disks."""
    limits, is_serial = context.limits, context.settings.serial
    return Budget(nodes=1 if is_serial or limits.jobs == 1 else limits.jobs + 1, memory_bytes=limits.memory_bytes)


def _report(error: PibuildError, context: BuildContext) -> None:
    if not isinstance(error, ImageChangedError):
        context.console.warn(f"{error.line}; steps that don't need it continue")


def image_nodes(images: Iterable[Image], context: BuildContext, durations: Durations) -> list[Node]:
    """Return a node for each missing image and each missing parent of it, parents first.

    With a registry of images, parents have no node: they are made only if the registry lacks the image.
    """

    def node(image: Image) -> Node:
        return Node(
            name=image.reference,
            run=lambda: ensure_image(image, context),
            needs=tuple(parent.reference for parent in image.parents),
            expected_s=durations.of_image(image),
        )

    missing = with_parents(images, lambda image: is_present(image, context))
    wanted = {image.reference for image in images} if context.image_registry.is_asked else None
    return [node(image) for image in missing if wanted is None or image.reference in wanted]


def source_nodes(sources: Iterable[Source], context: BuildContext) -> list[Node]:
    """Return nodes that fetch sources that the store lacks."""

    def node(group: Sequence[Source]) -> Node:
        def fetch() -> None:
            with context.watch.timed("sources"):
                context.fetcher.fetch_all(group)

        return Node(name=_sources_name(group), run=fetch)

    missing = [source for source in sources if not is_stored(context.store, source)]
    if context.settings.offline:
        context.fetcher.fetch_all(missing)  # which names all that are missing
    return [node(group) for group in with_shared_archives(missing)]


def _sources_name(group: Sequence[Source]) -> str:
    return " ".join(source.tree for source in group)


def sources_of(artifacts: Iterable[Artifact]) -> tuple[Source, ...]:
    """Return the sources of artifacts, each once."""
    return tuple({source.tree: source for artifact in artifacts for source in artifact.release.sources}.values())


def _check_name(toolchain: Image) -> str:
    return f"conformance of {toolchain.reference}"
