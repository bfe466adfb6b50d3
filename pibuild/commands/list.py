"""`pibuild list`: targets and recipes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pibuild.commands.options import CommandParser, Invocation, add_general

if TYPE_CHECKING:
    from pibuild.model import Recipe, Target

SUMMARY = "list the targets, recipes, releases and Pythons"
USAGE = "[OPTION...]"
EXAMPLES = ("pibuild list",)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `list`."""
    add_general(parser, has_store=False)


def run(invocation: Invocation) -> int:
    """Print what can be asked for."""
    from pathlib import Path

    from pibuild.config.project_files import project_folder
    from pibuild.config.recipes import load_recipes
    from pibuild.config.targets import load_targets

    targets = load_targets(project_folder("toolchains"))
    recipes = load_recipes(Path(__file__).parent.parent / "recipes")
    invocation.console.result(*offer_overview(targets.values(), recipes.values()))
    return 0


def offer_overview(targets: "Iterable[Target]", recipes: "Iterable[Recipe]") -> tuple[str, dict[str, Any]]:
    """Say which targets there are, with their toolchains, and which recipes for which Pythons."""
    lines, target_rows, recipe_rows = ["targets:"], [], []
    for target in targets:
        lines += [
            f"  {target.name}: {target.models}",
            f"    also: {', '.join(target.aliases)}",
            f"    {target.compiler}, {target.arch_flags}",
            f"    glibc {target.glibc_floor} or newer, tag {target.platform_tag}, proven on {target.device_cpu}",
        ]
        shown = ("name", "aliases", "models", "compiler", "arch_flags", "glibc_floor", "platform_tag", "device_cpu")
        target_rows.append({name: getattr(target, name) for name in shown})
    lines += ["", "recipes:"]
    for recipe, release in ((one, release) for one in recipes for release in one.releases):
        pythons = f"Python {', '.join(release.pythons)}" if release.pythons else "every Python"
        note = "; not proven yet, built with --release alone" if release.unproven else ""
        lines.append(f"  {recipe.name} {release.version}: {recipe.summary} ({pythons}{note})")
        lines += [f"    --with {name}: {summary}" for name, summary in recipe.extras]
        recipe_rows.append(
            {
                "name": recipe.name,
                "version": release.version,
                "pythons": release.pythons,
                "unproven": release.unproven,
                "gives_wheel": bool(recipe.proof),
                "extras": dict(recipe.extras),
            }
        )
    return "\n".join(lines), {"targets": target_rows, "recipes": recipe_rows}
