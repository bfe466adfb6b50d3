"""`pibuild schema`: JSON schemas of what pibuild reads and prints, for editors and programs."""

import json
from pathlib import Path

from pibuild.commands.options import CommandParser, Invocation, add_help

SUMMARY = "print the JSON schema of pibuild.yaml or of verify's output"
USAGE = "[settings|verify]"
EXAMPLES = ("pibuild schema > pibuild.schema.json", "pibuild schema verify")


def add_arguments(parser: CommandParser) -> None:
    """Add the name of the schema."""
    parser.add_argument(
        "of",
        nargs="?",
        choices=("settings", "verify"),
        default="settings",
        metavar="OF",
        help="settings: pibuild.yaml (default); verify: what `pibuild verify --json` prints",
    )
    add_help(parser)


def run(invocation: Invocation) -> int:
    """Print the schema."""
    from pibuild.config.settings_sources import settings_schema

    if invocation.args.of == "verify":
        schema = (Path(__file__).parent.parent / "verify" / "schema.json").read_text(encoding="utf-8").rstrip()
    else:
        schema = json.dumps(settings_schema(), indent=1)
    invocation.console.result(schema, None)
    return 0
