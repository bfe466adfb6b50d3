"""`pibuild completion`: a script with which a shell completes commands, options and their values."""

from pibuild.commands.options import CommandParser, Invocation, add_help

SUMMARY = "print a completion script for bash, zsh or fish"
USAGE = "bash|zsh|fish"
EXAMPLES = (
    "pibuild completion bash > ~/.local/share/bash-completion/completions/pibuild",
    "pibuild completion fish > ~/.config/fish/completions/pibuild.fish",
)

_FILES = ("wheel", "wheels", "config", "copy", "public_key")
_FOLDERS = ("output", "store", "source")


def add_arguments(parser: CommandParser) -> None:
    """Add the shell's name."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="the shell: bash, zsh or fish")
    add_help(parser)


def run(invocation: Invocation) -> int:
    """Print the script; the options of a default command or action are completed without its name, too."""
    import shtab

    root, values = invocation.parser, _values()
    for parser in (root, *root.commands.values()):
        for default in list(parser.commands.values())[:1]:
            for option, action in default.options.items():
                if option not in parser.options:
                    parser._add_action(action)  # noqa: SLF001  argparse has no public way to share an option
    for _, parser in (((), root), *root.leaves()):
        for action in parser._actions:  # noqa: SLF001  words have no public list
            if action.dest in values:
                action.choices = values[action.dest]
            elif action.dest in (*_FILES, *_FOLDERS):
                kind = shtab.FILE if action.dest in _FILES else shtab.DIRECTORY
                action.complete = kind  # type: ignore[attr-defined]  # shtab reads it
    invocation.console.result(shtab.complete(root, invocation.args.shell).rstrip(), None)
    return 0


def _values() -> dict[str, list[str]]:
    """Return the values that options take, by the options' names; the others' parsers have their choices."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.commands.list import BUILD_ONLY, recipe_kinds
    from pibuild.config.pis import load_pis
    from pibuild.nightly.ci_jobs import KINDS

    catalogue, pis = load_catalogue(), load_pis()
    kinds = recipe_kinds(catalogue.recipes)
    recipes = [recipe for recipe in catalogue.recipes.values() if kinds[recipe.name] != BUILD_ONLY]
    releases = [release for recipe in recipes for release in recipe.releases]
    return {
        "target": list(catalogue.targets),
        "python": list(dict.fromkeys(python for release in releases for python in release.pythons)),
        "recipe": [recipe.name for recipe in recipes],
        "release": list(dict.fromkeys(release.version for release in releases)),
        "with": [name for recipe in recipes for name in recipe.extras],
        "model": [model.name for model in pis.models],
        "os": [system.name for system in pis.systems],
        "format": list(KINDS),
    }
