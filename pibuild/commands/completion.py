"""`pibuild completion`: the script by which a shell completes pibuild's commands and options."""

from pibuild.commands.options import CommandParser, Invocation, add_help

SUMMARY = "print a completion script for bash, zsh or fish"
USAGE = "bash|zsh|fish"
EXAMPLES = ("pibuild completion bash > ~/.local/share/bash-completion/completions/pibuild",)


def add_arguments(parser: CommandParser) -> None:
    """Add the shell's name."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    add_help(parser)


def run(invocation: Invocation) -> int:
    """Print the script."""
    import shtab

    invocation.console.result(shtab.complete(invocation.parser, invocation.args.shell).rstrip(), None)
    return 0
