"""`pibuild list`: products and targets, and on request what they are made of."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pibuild.commands.options import CommandParser, Invocation, add_general

if TYPE_CHECKING:
    from pibuild.model import Recipe, Release, Target

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
    """Print what can be asked for; with --json all of it, each recipe with its kind."""
    from pibuild.build.catalogue import load_catalogue

    catalogue = load_catalogue()
    kinds, targets = recipe_kinds(catalogue.recipes), catalogue.targets.values()
    by_kind = {
        kind: [recipe for recipe in catalogue.recipes.values() if kinds[recipe.name] == kind]
        for kind in (PRODUCT, DEPENDENCY, BUILD_ONLY)
    }
    lines = ["products:", *_products(by_kind[PRODUCT])]
    lines += ["", "wheels that --with-dependencies adds:", *_others(by_kind[DEPENDENCY])]
    if invocation.args.all:
        lines += ["", "built only for other recipes:", *_others(by_kind[BUILD_ONLY])]
    lines += ["", "targets:"]
    for target in targets:
        lines.append(f"  {target.name}: {target.models}")
        if invocation.settings.verbose:
            lines += [
                f"    aliases: {', '.join(target.aliases)}",
                f"    {target.compiler}, {target.arch_flags}",
                f"    glibc {target.glibc_floor} or newer, tag {target.platform_tag}, proven on {target.device_cpu}",
            ]
    shown = ("name", "aliases", "models", "compiler", "arch_flags", "glibc_floor", "platform_tag", "device_cpu")
    facts = {
        "targets": [{name: getattr(target, name) for name in shown} for target in targets],
        "recipes": [
            _release_facts(recipe, release, kinds[recipe.name], catalogue.targets)
            for recipe in catalogue.recipes.values()
            for release in recipe.releases
        ],
    }
    invocation.console.result("\n".join(lines), facts)
    return 0


def recipe_kinds(recipes: "Mapping[str, Recipe]") -> dict[str, str]:
    """Return each recipe's kind: people ask for products, `--with-dependencies` adds the dependencies' wheels."""
    added = {name for recipe in recipes.values() for release in recipe.releases for name in release.dependencies}
    return {
        name: DEPENDENCY if name in added else PRODUCT if recipe.proof else BUILD_ONLY
        for name, recipe in recipes.items()
    }


def _products(recipes: "Iterable[Recipe]") -> list[str]:
    """Return a table of products, a row for each release with the same proofs, then their extras."""
    rows = [("recipe", "release", "Pythons", "proven on")]
    for recipe in recipes:
        pythons: dict[tuple[str, str], list[str]] = {}
        for release in recipe.releases:
            proofs = "every target" if release.proven_on is None else ", ".join(release.proven_on)
            key = (release.version, proofs or f"no target: built with --release {release.version} alone")
            pythons.setdefault(key, []).extend(release.pythons)
        rows += [(recipe.name, version, ", ".join(names), proofs) for (version, proofs), names in pythons.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    extras = [f"  {recipe.name} --with {name}: {summary}" for recipe in recipes for name, summary in recipe.extras]
    return lines + extras


def _others(recipes: "Iterable[Recipe]") -> list[str]:
    """Return a line for each recipe with its releases."""
    lines = []
    for recipe in recipes:
        versions = dict.fromkeys(release.version for release in recipe.releases)
        lines.append(f"  {recipe.name} {', '.join(versions)}: {recipe.summary}")
    return lines


def _release_facts(recipe: "Recipe", release: "Release", kind: str, targets: "Mapping[str, Target]") -> dict[str, Any]:
    return {
        "name": recipe.name,
        "kind": kind,
        "version": release.version,
        "pythons": release.pythons,
        "proven_on": list(targets) if release.proven_on is None else list(release.proven_on),
        "gives_wheel": bool(recipe.proof),
        "extras": dict(recipe.extras),
    }
