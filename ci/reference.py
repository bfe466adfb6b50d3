"""Writes what is generated from the program: the reference pages in docs/, the man page and the settings' schema.

A test compares the files with this program's output.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pibuild import __version__
from pibuild.commands.main import EXIT_CODES, make_parser
from pibuild.commands.options import CommandParser
from pibuild.config.settings_sources import setting_names, settings_schema

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Written by ci/reference.py from the program: change the program, then run it. -->"
GENERAL = "general"


def main() -> int:
    """Write the files, and print the names of those that changed."""
    for path, text in pages().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(ROOT))
    return 0


def pages() -> dict[Path, str]:
    """Return the content of each generated file."""
    return {
        ROOT / "docs/cli.md": "\n".join(cli_page()) + "\n",
        ROOT / "docs/configuration.md": "\n".join(configuration_page()) + "\n",
        ROOT / "docs/pibuild.1": "\n".join(man_page()) + "\n",
        ROOT / "pibuild/config/settings.schema.json": json.dumps(settings_schema(), indent=1) + "\n",
    }


def cli_page() -> Iterator[str]:
    """Yield the lines of docs/cli.md."""
    leaves = {" ".join(path): parser for path, parser in make_parser().leaves()}
    yield from (NOTE, "", "# Command line", "")
    yield from (
        "`pibuild` without a command is `pibuild build`. Options may stand before, between and after other words.",
        "`pibuild help COMMAND` and `pibuild COMMAND --help` print the help of a command.",
        "In a checkout, `ci/pibuild` takes the same commands and options.",
        "",
        "An option that has a variable and a key is a setting. The option overrides the variable, and the variable",
        "overrides the key of [pibuild.yaml](configuration.md). All other options exist on the command line only.",
        "",
        "| command | what it does |",
        "|---|---|",
        *(f"| [`pibuild {name}`](#{anchor(name)}) | {cell(parser.summary)} |" for name, parser in leaves.items()),
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
        "`pibuild run` returns the exit code of its command. With `--json`, the last line on stderr is the error as",
        "JSON: an object `error` with `type`, `exit_code`, `what`, `expected`, `found`, `details`, `hint` and `log`.",
        "If the same command may succeed later, `again` is this command. If `pibuild shell` can open the failed",
        "container, `shell` is the command for that.",
        "",
        "## General options",
        "",
        "Commands that read settings take these. Commands that use no store have no `--store`.",
        "",
        *table(actions(leaves["build"], general=True)),
    )
    for name, parser in leaves.items():
        yield from ("", f"## pibuild {name}", "", sentence(parser.summary), "", "```console")
        yield from (f"$ {example}" for example in parser.examples)
        yield from ("```", "")
        own = actions(parser, general=False)
        yield from table(own) if own else ["It has no options of its own."]
        if "--config" in parser.options:
            yield from ("", "It also takes the [general options](#general-options).")


def actions(parser: CommandParser, *, general: bool) -> list[argparse.Action]:
    """Return the options and arguments of a command, or those of its general group."""
    groups = [group for group in parser._action_groups if (group.title == GENERAL) == general]
    return [action for group in groups for action in group._group_actions]


def table(rows: list[argparse.Action]) -> Iterator[str]:
    """Yield a table of options with the variable and the key that each has."""
    yield from ("| option | meaning | variable | key |", "|---|---|---|---|")
    for action in rows:
        variable = key = "none"
        if action.dest in (*setting_names(), "config"):
            variable = f"`PIBUILD_{action.dest.upper()}`"
        if action.dest in setting_names():
            key = f"`{action.dest}:`"
        yield f"| `{cell(spelling(action))}` | {cell(sentence(str(action.help)))} | {variable} | {key} |"


def spelling(action: argparse.Action) -> str:
    """Return how an option or word is typed: `-c, --config FILE`."""
    return f"{', '.join(action.option_strings)} {action.metavar or ''}".strip()


def configuration_page() -> Iterator[str]:
    """Yield the lines of docs/configuration.md."""
    schema = settings_schema()
    yield from (NOTE, "", "# Configuration", "")
    yield from (
        "Each setting is an option, a variable and a key of a file. The option overrides the variable, and the",
        "variable overrides the key. The file is `pibuild.yaml` in the current folder, or the file that",
        "`--config` or `PIBUILD_CONFIG` names. `pibuild schema` prints its JSON schema, which editors can use to",
        "complete keys.",
        "",
        "```yaml",
        "target: pi-one",
        'python: "3.11"                 # versions are in quotes',
        "jobs: 2",
        "store: {folder: /big/disk/pibuild}",
        'mirrors: ["/srv/git/{owner}+{name}/repo"]',
        "```",
        "",
        "Several values in a variable are separated by spaces, in `PIBUILD_WITH` also by commas. `1` and `true` switch",
        "a setting on, `0` and `false` switch it off. An unknown key or variable is an error.",
        "",
        "## Settings",
        "",
        "| key | option | variable | value | default | meaning |",
        "|---|---|---|---|---|---|",
    )
    names = setting_names()
    for name, about in schema["properties"].items():
        option = f"`--{name.replace('_', '-')}` | `PIBUILD_{name.upper()}`" if name in names else "none | none"
        yield f"| `{name}:` | {option} | {value(about)} | {default(about)} | {meaning(about)} |"
    for name, about in schema["$defs"].items():
        yield from ("", f"## {name}", "", f"Value of {keys_of(name, schema)}. {meaning(about)}", "")
        yield from ("| key | value | default | meaning |", "|---|---|---|---|")
        for key, part in about["properties"].items():
            shown = "required" if key in about.get("required", []) else default(part)
            yield f"| `{key}:` | {value(part)} | {shown} | {meaning(part)} |"


def keys_of(name: str, schema: dict[str, Any]) -> str:
    """Return the keys whose value is of a type."""
    tables = [about["properties"] for about in (schema, *schema["$defs"].values())]
    return ", ".join(f"`{key}:`" for keys in tables for key, part in keys.items() if f'/{name}"' in json.dumps(part))


def value(about: dict[str, Any]) -> str:
    """Return a description of a value's type."""
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "enum" in about:
        return ", ".join(f"`{text}`" for text in about["enum"])
    if kinds := about.get("anyOf") or about.get("oneOf"):
        return " or ".join(dict.fromkeys(value(kind) for kind in kinds if kind.get("type") != "null"))
    if about.get("type") == "array":
        return f"list of {value(about.get('items', {}))}"
    return {"string": "text", "boolean": "true or false", "integer": "whole number"}.get(about["type"], about["type"])


def default(about: dict[str, Any]) -> str:
    """Return the default of a setting, or `none` if its meaning says it."""
    text = about.get("default")
    if text is None or text == "" or isinstance(text, list | dict):
        return "none"
    return f"`{text if isinstance(text, str) else json.dumps(text)}`"


def meaning(about: dict[str, Any]) -> str:
    """Return the description of a value or class."""
    return cell(" ".join(about.get("description", "").split()))


def man_page() -> Iterator[str]:
    """Yield the lines of docs/pibuild.1."""
    root = make_parser()
    yield f'.TH PIBUILD 1 "" "pibuild {__version__}" "User Commands"'
    yield from (".SH NAME", f"pibuild \\- {roff(root.summary)}")
    yield from (".SH SYNOPSIS", ".B pibuild", "[COMMAND] [OPTION...]")
    yield from (".SH DESCRIPTION", "Without a command, pibuild does what", ".B pibuild build", "does.")
    yield from ("Options may stand before, between and after other words.", ".SH COMMANDS")
    for path, parser in root.leaves():
        yield f".SS pibuild {' '.join(path)}"
        yield from (roff(sentence(parser.summary)), ".PP", ".nf")
        yield from (f".B {roff(example)}" for example in parser.examples)
        yield ".fi"
        yield from man_options(actions(parser, general=False))
    yield ".SH GENERAL OPTIONS"
    yield from man_options(actions(root.commands["build"], general=True))
    yield from (".TP", ".B \\-V, \\-\\-version", "Print pibuild's version.")
    yield from (
        ".SH ENVIRONMENT",
        "Each of these variables sets the option of the same name. The option overrides it.",
    )
    for name in (*setting_names(), "config"):
        yield from (".TP", f".B PIBUILD_{name.upper()}", roff(f"--{name.replace('_', '-')}"))
    yield from (".TP", ".B NO_COLOR", "If it is set, colors are off unless \\-\\-color asks for them.")
    yield from (".SH FILES", ".TP", ".B pibuild.yaml")
    yield from ("Settings, in the current folder. The keys are the variables' names in", "lower case without PIBUILD_.")
    yield ".SH EXIT STATUS"
    for code, text in EXIT_CODES.items():
        yield from (".TP", f".B {code}", roff(sentence(text)))


def man_options(rows: list[argparse.Action]) -> Iterator[str]:
    """Yield options and their meanings."""
    for action in rows:
        yield from (".TP", f".B {roff(spelling(action))}", roff(sentence(str(action.help))))


def roff(text: str) -> str:
    """Return a line of text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "...")) else ".")


def cell(text: str) -> str:
    """Return a text for a cell of a table, where a bar would end it."""
    return text.replace("|", "\\|")


def anchor(name: str) -> str:
    """Return the anchor of a heading."""
    return ("pibuild-" if name.islower() else "") + name.lower().replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
