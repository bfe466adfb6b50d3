"""What pibuild.yaml says of nights, as typed values.

How YAML becomes these is strict_yaml's knowledge, what a night makes of them matrix's and night's.
"""

from dataclasses import dataclass

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Some cells of the matrix: each version or ref of a recipe, for each target and each Python."""

    __pydantic_config__ = _STRICT
    recipe: str
    versions: tuple[str, ...] = ()
    """Releases of the recipe; the newest for each Python where left out."""
    refs: tuple[str, ...] = ()
    """Branches or tags of the source's repository, looked up anew each night and built as the release is."""
    targets: tuple[str, ...] = ()
    """All where left out."""
    pythons: tuple[str, ...] = ()
    """All that the release supports where left out."""
    with_dependencies: bool = False
    """Also what pip wants beside the wheel: the compiled ones as cells of their own, all of it in the same index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Cells that are not built: those that have all of what is named here."""

    __pydantic_config__ = _STRICT
    recipe: str | None = None
    version: str | None = None
    ref: str | None = None
    target: str | None = None
    python: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who is told when a cell turns red, and when it turns green again."""

    __pydantic_config__ = _STRICT
    webhook: str | None = None
    """A URL that takes JSON by POST."""
    command: tuple[str, ...] = ()
    """A program and its first words; the JSON comes on its standard input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """The matrix of every night."""

    __pydantic_config__ = _STRICT
    cells: tuple[Cells, ...]
    exclude: tuple[Exclusion, ...] = ()
    state: str = "nightly"
    """Folder of history.sqlite, nights/, logs/, junit.xml and summary.md."""
    notify: Notify | None = None
