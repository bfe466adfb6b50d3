"""The words of the command line: commands, options, exit codes, and how --help tells them.

Decides nothing: what they come to is cli's and config's knowledge.
"""

import argparse
from typing import NoReturn

from pibuild.errors import UsageError

COMMANDS = {
    "build": "build and prove a wheel; what pibuild does without a command",
    "plan": "say what would be fetched, built and reused, and why; starts nothing",
    "fetch": "bring everything from the network, for a machine that will be offline",
    "list": "targets, toolchains, recipes and Pythons",
    "verify": "say what any WHEEL is and on which Pis and systems it runs; --run tries it on an emulated one",
    "retag": "give a WHEEL another --python or --platform, as long as the contents bear it out",
    "run": "start a command on an emulated Pi that has a WHEEL installed: run WHEEL -- python …",
    "nightly": "run the matrix of pibuild.yaml: build what changed, prove it, publish it, tell what came of it",
    "publish": "publish what is proven; or --rollback, --yank, --unyank, --undelete, --check what is published",
    "matrix": "the cells of the matrix, as a CI system fans them out",
    "status": "what came of the last night, and since when each cell is as it is",
    "log": "what came of a CELL in the last nights, and its last failure's log",
    "doctor": "look at the engine, disk, memory, emulation and network, with a remedy for each fault",
    "shell": "a shell in the container of the build that failed",
    "clean": "remove what killed builds left, logs and failed containers; --artifacts or --all remove more",
}
OPTIONS_OF = {
    "verify": ("floor", "run", "run_command"),
    "retag": ("platform", "accept_abi_risk"),
    "run": ("model", "os"),
    "nightly": ("only", "no_publish"),
    "matrix": ("format",),
    "publish": ("rollback", "yank", "unyank", "reason", "undelete", "check", "public_key"),
    "clean": ("artifacts", "all"),
}
"""The options that are one command's alone; all others are settings."""
_EXIT_CODES = """\
exit codes:
  0 done    1 a bug in pibuild    2 something asked for does not exist    4 Docker engine
  5 source    6 image    7 build    8 memory, disk or time    9 proof    10 store    130 Ctrl-C    141 a pipe broke
  nightly: 0 all good    3 nothing to do    11 some cells failed    publish: 12 not published, or not whole

Every option is also a variable (PIBUILD_TARGET) and a key of pibuild.yaml (target:); a flag is the strongest.
"""


_JSON_HELP = "results as JSON on stdout: one document, of retag and plan --with-dependencies a list"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving."""
        raise UsageError(message[0].upper() + message[1:], hint=f"{self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of everything that pibuild takes."""
    parser = _Parser(
        prog="pibuild",
        description="Builds TensorFlow wheels for the Raspberry Pi and proves them on an emulated one.",
        epilog="commands:\n" + "".join(f"  {name:8}{text}\n" for name, text in COMMANDS.items()) + "\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", nargs="?", default="build", metavar="COMMAND", help="see below")
    parser.add_argument("--target", metavar="T", help="the Pi: pi-one (Zero, One), pi-two (2 and later); pibuild list")
    parser.add_argument("--python", metavar="V", help="the Python on the Pi, such as 3.11")
    parser.add_argument(
        "--recipe", metavar="R", help="what to build; the newest TensorFlow for that Python where not given"
    )
    parser.add_argument(
        "--version", nargs="?", const="", metavar="X", help="the release to build; without X: pibuild's own version"
    )
    parser.add_argument("--source", metavar="DIR", help="build a TensorFlow tree of your own")
    parser.add_argument(
        "--with",
        action="extend",
        type=lambda text: text.split(","),
        metavar="EXTRA",
        help="what to make beside the wheel, such as c-library,benchmark: see pibuild list",
    )
    parser.add_argument(
        "--no-api-wheel",
        action="store_true",
        default=None,
        help="do not take Python's API files from the official wheel: compile TensorFlow for the machine, too",
    )
    parser.add_argument(
        "--legacy-name", action="store_true", default=None, help="also give the wheel the file names of 2017"
    )
    parser.add_argument(
        "--with-dependencies",
        action="store_true",
        default=None,
        help="also all that pip wants beside the wheel: `pip install --no-index --find-links wheelhouse` then does",
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="settings (default: pibuild.yaml, where it is there)")
    parser.add_argument("--output", metavar="DIR", help="where the wheel and its record go (default: wheelhouse)")
    parser.add_argument("--store", metavar="DIR", help="sources, artifacts and logs (default: the user's cache folder)")
    parser.add_argument(
        "--mirrors", action="append", metavar="P", help="a folder or server of bare clones, {owner} and {name} in it"
    )
    parser.add_argument("--offline", action="store_true", default=None, help="fail at once, listing what is missing")
    parser.add_argument("--jobs", type=int, metavar="N", help="compilers at a time")
    parser.add_argument("--memory", type=float, metavar="GB", help="memory for one container")
    parser.add_argument("--deadline", type=float, metavar="MIN", help="minutes that one container may take")
    parser.add_argument("--json", action="store_true", default=None, help=_JSON_HELP)
    parser.add_argument("-v", "--verbose", action="store_true", default=None, help="show the output of what is run")
    parser.add_argument("words", nargs="*", metavar="WORD", help="the WHEELs of verify, retag, run, the CELL of log")
    wheels = parser.add_argument_group("of verify, retag and run")
    wheels.add_argument("--floor", metavar="F", help="verify: the oldest glibc that it must run with, such as 2.28")
    wheels.add_argument(
        "--run", action="store_true", help="verify: install and import it on the emulated Pi of --target and --python"
    )
    wheels.add_argument("--run-command", metavar="CODE", help="verify --run: Python code to run there after the import")
    wheels.add_argument("--model", metavar="M", help="run: the Pi, such as pi-4-b; else a Zero W or a 2 B")
    wheels.add_argument("--os", metavar="RELEASE", help="run: the system's release, with its Python: bookworm, …")
    wheels.add_argument("--raspbian", metavar="URL", help="run --os: an archive of Raspbian, to take it from")
    wheels.add_argument("--platform", metavar="P", help="retag: the platform tag, such as linux_armv6l")
    wheels.add_argument(
        "--accept-abi-risk",
        action="store_true",
        help="retag: claim a Python that it was not compiled for, and say so in it",
    )
    nights = parser.add_argument_group("of nightly, matrix and publish")
    nights.add_argument("--only", action="append", default=[], metavar="CELL", help="nightly: this cell, not all")
    nights.add_argument("--no-publish", action="store_true", help="nightly: leave publishing to `pibuild publish`")
    nights.add_argument("--format", metavar="F", help="matrix: github, gitlab or json (where not given)")
    nights.add_argument("--rollback", nargs="?", const="", metavar="SET", help="go back to this set, or the one before")
    nights.add_argument("--yank", metavar="CELL", help="nobody shall pick the newest wheel of a cell, or a file")
    nights.add_argument("--unyank", metavar="CELL", help="take that back")
    nights.add_argument("--reason", metavar="TEXT", help="why it is yanked")
    nights.add_argument("--undelete", metavar="FILE", help="bring back a wheel that retention took out of the index")
    nights.add_argument("--check", metavar="URL", help="verify everything that is published there, or in a folder")
    nights.add_argument("--public-key", metavar="PEM", help="publish --check: the key that it must be signed with")
    clean = parser.add_argument_group("of clean")
    clean.add_argument("--artifacts", action="store_true", help="remove artifacts and wheels as well")
    clean.add_argument("--all", action="store_true", help="remove sources and images as well: everything")
    return parser
