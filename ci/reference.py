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
from pibuild.config.settings import setting_names, settings_schema

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
        if own:
            yield from table(own)
        else:
            yield "It has no options of its own."
        if "--config" in {option for action in parser._actions for option in action.option_strings}:
            yield from ("", "It also takes the [general options](#general-options).")


def actions(parser: CommandParser, *, general: bool) -> list[argparse.Action]:
    """Return the options and words of a command, or those of its general group."""
    groups = [group for group in parser._action_groups if (group.title == GENERAL) == general]
    return [action for group in groups for action in group._group_actions]


def table(rows: list[argparse.Action]) -> Iterator[str]:
    """Yield a table of options with the variable and the key that each has."""
    yield from ("| option | meaning | variable | key |", "|---|---|---|---|")
    for action in rows:
        name = f"{', '.join(action.option_strings)} {action.metavar or ''}".strip()
        yield f"| `{cell(name)}` | {cell(sentence(str(action.help)))} | {variable(action)} | {key(action)} |"


def variable(action: argparse.Action) -> str:
    """Return the variable of an option, or that it has none."""
    return f"`PIBUILD_{action.dest.upper()}`" if action.dest in (*setting_names(), "config") else "none"


def key(action: argparse.Action) -> str:
    """Return the key of an option, or that it has none."""
    return f"`{action.dest}:`" if action.dest in setting_names() else "none"


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
        yield from (
            "",
            f"## {name}",
            "",
            f"Value of {keys_of(name, schema)}. {meaning(about)}",
            "",
            "| key | value | default | meaning |",
            "|---|---|---|---|",
        )
        for below, part in about["properties"].items():
            is_required = below in about.get("required", [])
            yield f"| `{below}:` | {value(part)} | {'required' if is_required else default(part)} | {meaning(part)} |"


def keys_of(name: str, schema: dict[str, Any]) -> str:
    """Return the keys whose value is of a type."""
    tables = [about["properties"] for about in (schema, *schema["$defs"].values())]
    return ", ".join(f"`{key}:`" for keys in tables for key, part in keys.items() if f'/{name}"' in json.dumps(part))


def value(about: dict[str, Any]) -> str:
    """Return what a value of a schema looks like."""
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "enum" in about:
        return ", ".join(f"`{one}`" for one in about["enum"])
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(value(one) for one in about["anyOf"] if one.get("type") != "null"))
    if about.get("type") == "array":
        return f"list of {value(about.get('items', {}))}"
    return {"string": "text", "boolean": "true or false", "integer": "whole number"}.get(about["type"], about["type"])


def default(about: dict[str, Any]) -> str:
    """Return the default of a value; the meaning says it if it is not one value."""
    found = about.get("default")
    if found is None or found in ("", [], {}) or isinstance(found, dict):
        return "none"
    return f"`{json.dumps(found) if not isinstance(found, str) else found}`"


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
    yield roff("Options may stand before, between and after other words.")
    yield ".SH COMMANDS"
    for path, parser in root.leaves():
        yield f".SS pibuild {' '.join(path)}"
        yield from (roff(sentence(parser.summary)), ".PP", ".nf")
        yield from (f".B {roff(example)}" for example in parser.examples)
        yield ".fi"
        for action in actions(parser, general=False):
            yield from man_option(action)
    yield ".SH GENERAL OPTIONS"
    for action in actions(dict(root.leaves())[("build",)], general=True):
        yield from man_option(action)
    yield from (".TP", ".B \\-V, \\-\\-version", "Print pibuild's version.")
    yield ".SH ENVIRONMENT"
    yield roff("Each of these variables sets the option of the same name. The option overrides it.")
    yield from (
        line for name in setting_names() for line in (".TP", f".B PIBUILD_{name.upper()}", roff(f"--{flag(name)}"))
    )
    yield from (".TP", ".B PIBUILD_CONFIG", roff("--config"))
    yield from (".TP", ".B NO_COLOR", "If it is set, colors are off unless \\-\\-color asks for them.")
    yield from (
        ".SH FILES",
        ".TP",
        ".B pibuild.yaml",
        "Settings, in the current folder. The keys are the variables' names in",
    )
    yield "lower case without PIBUILD_."
    yield ".SH EXIT STATUS"
    yield from (line for code, text in EXIT_CODES.items() for line in (".TP", f".B {code}", roff(sentence(text))))


def man_option(action: argparse.Action) -> Iterator[str]:
    """Yield an option and its meaning."""
    name = f"{', '.join(action.option_strings)} {action.metavar or ''}".strip()
    yield from (".TP", f".B {roff(name)}", roff(sentence(str(action.help))))


def flag(name: str) -> str:
    """Return a setting's name as options spell it."""
    return name.replace("_", "-")


def roff(text: str) -> str:
    """Return a line of text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "...")) else ".")


def cell(text: str) -> str:
    """Return a text that does not end a cell of a table."""
    return text.replace("|", "\\|")


def anchor(name: str) -> str:
    """Return the anchor of a heading."""
    return ("pibuild-" if name.islower() else "") + name.lower().replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
