"""`pibuild schema`: the JSON schema of pibuild.yaml, for editors."""

import json

from pibuild.commands.options import CommandParser, Invocation, add_help

SUMMARY = "print the JSON schema of pibuild.yaml, for editors"
USAGE = ""
EXAMPLES = ("pibuild schema > pibuild.schema.json",)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `schema`."""
    add_help(parser)


def run(invocation: Invocation) -> int:
    """Print the schema."""
    from pibuild.config.settings import settings_schema

    invocation.console.result(json.dumps(settings_schema(), indent=1), None)
    return 0
