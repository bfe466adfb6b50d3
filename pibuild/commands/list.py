"""`pibuild list`: products and targets, and on request what they are made of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pibuild.commands.options import CommandParser, Invocation, add_general

if TYPE_CHECKING:
    from pibuild.model import Recipe, Target

SUMMARY = "list the products, releases, Pythons and targets"
USAGE = "[OPTION...]"
EXAMPLES = ("pibuild list", "pibuild list --all --verbose")
PRODUCT, DEPENDENCY, BUILD_ONLY = "product", "dependency", "build-only"


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `list`."""
    group = parser.add_argument_group("what is listed")
    group.add_argument("--all", action="store_true", help="also recipes that are only needed to build others")
    add_general(parser, has_store=False)


def run(invocation: Invocation) -> int:
    """Print the products, dependencies and targets; with --json all recipes, each with its kind."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.build.devices import device_name

    catalogue, console = load_catalogue(), invocation.console
    recipes, targets = catalogue.recipes.values(), list(catalogue.targets.values())
    kinds = recipe_kinds(catalogue.recipes)
    sections = {
        "products": _products([recipe for recipe in recipes if kinds[recipe.name] == PRODUCT]),
        "wheels that --with-dependencies adds": _lines_of(DEPENDENCY, recipes, kinds),
    }
    if invocation.args.all:
        sections["built only for other recipes"] = _lines_of(BUILD_ONLY, recipes, kinds)
    sections["targets"] = [line for target in targets for line in _target(target, verbose=console.verbose)]
    fields = (
        "name",
        "aliases",
        "models",
        "bits",
        "compiler",
        "arch_flags",
        "glibc_floor",
        "platform_tag",
        "device_cpu",
    )
    facts = {
        "targets": [
            {field: getattr(target, field) for field in fields}
            | {"devices": [device_name(device) for device in target.devices]}
            for target in targets
        ],
        "recipes": [
            {
                "name": recipe.name,
                "kind": kinds[recipe.name],
                "version": release.version,
                "pythons": release.pythons,
                "targets": [target.name for target in targets if release.is_for(target)],
                "proven_on": [
                    target.name for target in targets if release.is_for(target) and release.is_proven_on(target)
                ],
                "gives_wheel": bool(recipe.proof),
                "extras": recipe.extras,
            }
            for recipe in recipes
            for release in recipe.releases
        ],
    }
    console.result("\n\n".join("\n".join([f"{title}:", *lines]) for title, lines in sections.items()), facts)
    return 0


def recipe_kinds(recipes: "Mapping[str, Recipe]") -> dict[str, str]:
    """Return each recipe's kind: product, dependency (added by `--with-dependencies`) or build-only."""
    dependencies = {name for recipe in recipes.values() for release in recipe.releases for name in release.dependencies}
    return {
        name: DEPENDENCY if name in dependencies else PRODUCT if recipe.proof else BUILD_ONLY
        for name, recipe in recipes.items()
    }


def _products(recipes: "Sequence[Recipe]") -> list[str]:
    """Return a table of products, a row for each release with the same proofs, then their extras."""
    from packaging.version import Version

    rows = [("recipe", "release", "Pythons", "proven on")]
    for recipe in recipes:
        pythons: dict[tuple[str, str], list[str]] = {}
        for release in recipe.releases:
            where = release.targets if release.proven_on is None else release.proven_on
            proofs = "every target" if where is None else ", ".join(where)
            key = (release.version, proofs or f"no target: needs --release {release.version}")
            pythons.setdefault(key, []).extend(release.pythons)
        rows += [
            (recipe.name, version, ", ".join(sorted(set(names), key=Version)), proofs)
            for (version, proofs), names in pythons.items()
        ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    extras = [
        f"{recipe.name} --with {name}: {summary}" for recipe in recipes for name, summary in recipe.extras.items()
    ]
    return [f"  {line}".rstrip() for line in table + extras]


def _lines_of(kind: str, recipes: "Iterable[Recipe]", kinds: "Mapping[str, str]") -> list[str]:
    """Return a line for each recipe of a kind, with its releases."""
    return [
        f"  {recipe.name} {', '.join(dict.fromkeys(release.version for release in recipe.releases))}: {recipe.summary}"
        for recipe in recipes
        if kinds[recipe.name] == kind
    ]


def _target(target: "Target", *, verbose: bool) -> "Iterator[str]":
    from pibuild.build.devices import device_names

    yield f"  {target.name}: {target.models}"
    if verbose:
        yield f"    aliases: {', '.join(target.aliases)}"
        yield f"    {target.compiler}, {target.arch_flags}"
        yield f"    platform tag {target.platform_tag}, glibc {target.glibc_floor} or newer"
        yield f"    {target.bits} bit, proven on an emulated {device_names(target)}"
