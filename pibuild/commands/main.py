"""The command line: argv to settings, commands, errors to exit codes.

Imports what a command needs when it runs, so that `--help` answers at once.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pibuild import __version__
from pibuild.commands.options import COMMANDS, OPTIONS_OF, make_parser
from pibuild.console import Console, let_go, size
from pibuild.errors import PibuildError, UsageError, nearest

if TYPE_CHECKING:
    from pibuild.build.schedule import Wanted
    from pibuild.config.settings import Settings
    from pibuild.model import Plan, Wheelhouse

_EXIT_INTERRUPTED = 130
_EXIT_UNREAD = 141
"""As a shell says it of a program whose pipe broke."""
_OF_WHEELS = ("verify", "retag", "run")
_OF_NIGHTS = ("nightly", "publish", "matrix", "status", "log")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; give its exit code. Everything a person can act on is caught here, once."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what a terminal's encoding lacks
    if argv is None:
        signal.signal(signal.SIGTERM, _interrupt)  # a CI system's end is cleaned up after as Ctrl-C's is
    try:
        return _run(words, dict(os.environ))
    except PibuildError as error:
        _tell(f"pibuild: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _tell("pibuild: interrupted; the same command goes on from here")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # of the progress; a result that nobody reads is report's to let go of
        let_go(sys.stderr)
        return _EXIT_UNREAD


def _tell(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201  no report exists before the settings are known


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _run(words: list[str], environ: dict[str, str]) -> int:
    parser = make_parser()
    end = words.index("--") if "--" in words else len(words)
    given, unknown = parser.parse_known_intermixed_args(words[:end])  # options stand anywhere between the words
    given.to_run = words[end + 1 :]
    if unknown:
        options = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001
        raise UsageError(f"There is no option {unknown[0]!r}", hint=nearest(unknown[0].split("=")[0], options))
    if given.version == "":
        Console().result(f"pibuild {__version__}", None)
        return 0
    _check_command(given)
    from pibuild.config.settings import load_settings  # noqa: PLC0415  pydantic costs a tenth of a second

    settings = load_settings(vars(given), environ, _current_folder())
    console = Console(verbose=settings.verbose, as_json=settings.json, fold=environ.get("GITHUB_ACTIONS") == "true")
    if given.command in _OF_WHEELS:
        return _wheels(given, settings, environ, console)
    if given.command in _OF_NIGHTS:
        return _nights(given, settings, environ, console)
    return _builds(given, settings, environ, console)


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        hint = "cd to one that is there"
        raise UsageError("The current folder is gone", found=error.strerror or "", hint=hint) from error


def _check_command(given: argparse.Namespace) -> None:
    command, words, to_run = given.command, given.words, given.to_run
    if command not in COMMANDS:
        raise UsageError(f"There is no command {command!r}", hint=nearest(command, list(COMMANDS)))
    wants = {"verify": "the path of a wheel, or of several", "log": "the name of one cell"}
    wants |= {"retag": wants["verify"], "run": "the path of a wheel, and after -- a command to run there"}
    is_one = command in ("log", "run")
    if command in wants and (not words or (is_one and len(words) > 1) or (command == "run" and not to_run)):
        hint = 'pibuild run WHEEL -- python -c "import thing"' if command == "run" else "pibuild --help"
        raise UsageError(f"pibuild {command} wants {wants[command]}", hint=hint)
    if to_run and command != "run":
        raise UsageError(f"pibuild {command} takes nothing after --", hint="pibuild --help")
    if words and command not in wants:
        raise UsageError(f"pibuild {command} takes no {words[0]!r}", hint="pibuild --help")
    for owner, options in OPTIONS_OF.items():
        asked = [option for option in options if getattr(given, option) not in (None, False, [])]
        if asked and command != owner:
            raise UsageError(f"--{asked[0].replace('_', '-')} is for pibuild {owner}", hint="pibuild --help")
    if given.run_command is not None and not given.run:
        raise UsageError("--run-command runs nothing without --run", hint="pibuild verify WHEEL --run --run-command …")


def _wheels(given: argparse.Namespace, settings: "Settings", environ: dict[str, str], console: Console) -> int:
    """Look at wheels from anywhere, give them another claim, or run something with one."""
    from pibuild.commands import wheels  # noqa: PLC0415

    paths = [Path(one) for one in given.words]
    if given.command == "retag":
        return wheels.retag_all(
            paths, settings, console, platform=given.platform, accept_abi_risk=given.accept_abi_risk
        )
    if given.command == "run":
        from pibuild.commands import run as command  # noqa: PLC0415

        return command.run(paths[0], given.to_run, settings, environ, console, model=given.model, system=given.os)
    return wheels.verify_all(
        paths, settings, environ, console, floor=given.floor, run=given.run, run_command=given.run_command
    )


def _nights(given: argparse.Namespace, settings: "Settings", environ: dict[str, str], console: Console) -> int:
    """Run a night, tell of nights, or see to what is published."""
    from pibuild.commands import nightly as commands  # noqa: PLC0415

    match given.command:
        case "nightly":
            code = commands.nightly(settings, environ, console, only=given.only, is_published=not given.no_publish)
        case "matrix":
            code = commands.show_matrix(settings, console, kind=given.format or "json")
        case "status":
            code = commands.status(settings, console)
        case "log":
            code = commands.show_log(settings, console, given.words[0])
        case _:
            from pibuild.commands.publish import publish  # noqa: PLC0415

            code = publish(given, settings, environ, console)
    return code


def _builds(given: argparse.Namespace, settings: "Settings", environ: dict[str, str], console: Console) -> int:
    """Build, and what goes with it."""
    from pibuild.build.assembly import decide, decide_wheelhouse  # noqa: PLC0415

    match given.command:
        case "list":
            code = _list(console)
        case "doctor":
            code = _doctor(settings, environ, console)
        case "clean":
            code = _clean(settings, environ, console, artifacts=given.artifacts or given.all, everything=given.all)
        case "plan":
            code = _show_plans(_plans(settings, environ, console), settings, environ, console)
        case "shell":
            code = _shell(decide(settings, environ, console), environ)
        case command if settings.with_dependencies:
            code = _fill(command, decide_wheelhouse(settings, environ, console), settings, environ, console)
        case command:
            code = _work(command, decide(settings, environ, console), settings, environ, console)
    return code


def _work(command: str, plan: "Plan", settings: "Settings", environ: dict[str, str], console: Console) -> int:
    """Build, or fetch, one plan."""
    from pibuild.build.assembly import make_ports, open_store  # noqa: PLC0415
    from pibuild.store.local import deliver  # noqa: PLC0415

    store = open_store(settings, console)
    try:
        console.note(f"{plan.reason}; key {plan.key[:12]}")
        if command == "build" and (entry := store.wheel(plan.key)):
            console.note("nothing to do: this wheel was built and proven before")
        else:
            from pibuild.build import schedule as pipeline  # noqa: PLC0415

            store.sweep()
            ports = make_ports(settings, environ, store, console)
            if command == "fetch":
                _say_fetched(pipeline.prepare([plan], ports), console)
                return 0
            entry = pipeline.make(plan, ports, plan.command(source=settings.source))
        wheel_path = deliver(entry, Path(settings.output), with_legacy_names=settings.legacy_name)
        console.result(str(wheel_path), entry.facts | {"path": str(wheel_path)})
    finally:
        store.close()
    return 0


def _fill(command: str, house: "Wheelhouse", settings: "Settings", environ: dict[str, str], console: Console) -> int:
    """Build, or fetch, a wheel with all that pip wants beside it."""
    from pibuild.build import schedule as pipeline  # noqa: PLC0415
    from pibuild.build import wheelhouse  # noqa: PLC0415
    from pibuild.build.assembly import make_ports, open_store  # noqa: PLC0415
    from pibuild.store.local import deliver  # noqa: PLC0415

    store = open_store(settings, console)
    try:
        console.note(f"{house.reason}; key {house.key[:12]}")
        entries = wheelhouse.stored(house, store)
        if command == "build" and entries:
            console.note("nothing to do: these wheels were built and proven before")
        else:
            store.sweep()
            ports = make_ports(settings, environ, store, console)
            if command == "fetch":
                _say_fetched(pipeline.prepare([house.plan, *house.compiled], ports, house.packages), console)
                return 0
            entries = wheelhouse.make_all(house, ports, house.command(source=settings.source))
        paths = [
            deliver(entry, Path(settings.output), with_legacy_names=settings.legacy_name and entry is entries[-1])
            for entry in entries
        ]
        console.result(str(paths[-1]), entries[-1].facts | {"path": str(paths[-1])})
    finally:
        store.close()
    return 0


def _say_fetched(done: "Wanted", console: Console) -> None:
    console.result(
        f"{len(done.sources)} sources and {len(done.images)} images are here",
        {"sources": [one.name for one in done.sources], "images": [one.reference for one in done.images]},
    )


def _plans(settings: "Settings", environ: dict[str, str], console: Console) -> "list[Plan]":
    from pibuild.build.assembly import decide, decide_wheelhouse  # noqa: PLC0415

    if not settings.with_dependencies:
        return [decide(settings, environ, console)]
    house = decide_wheelhouse(settings, environ, console)
    return [*house.compiled, house.plan]


def _show_plans(plans: "Sequence[Plan]", settings: "Settings", environ: dict[str, str], console: Console) -> int:
    """Say what a build would do; asks the engine only which images it has."""
    from pibuild.adapters.docker import Engine  # noqa: PLC0415
    from pibuild.build.assembly import open_store  # noqa: PLC0415
    from pibuild.commands.overview import plan_overview  # noqa: PLC0415

    engine: Engine | None = None
    try:
        engine = Engine(environ)
    except PibuildError as error:
        console.warn(error.what)
    store = open_store(settings, console)
    try:
        told = [plan_overview(plan, store, engine) for plan in plans]
    finally:
        store.close()
    facts = [value for _, value in told]
    console.result("\n".join(text for text, _ in told), facts if settings.with_dependencies else facts[0])
    return 0


def _list(console: Console) -> int:
    """Show what can be asked for."""
    from pibuild.commands.overview import offer_overview  # noqa: PLC0415
    from pibuild.config.project_files import project_folder  # noqa: PLC0415
    from pibuild.config.recipes import load_recipes  # noqa: PLC0415
    from pibuild.config.targets import load_targets  # noqa: PLC0415

    targets = load_targets(project_folder("toolchains"))
    console.result(*offer_overview(targets.values(), load_recipes(Path(__file__).parent.parent / "recipes").values()))
    return 0


def _doctor(settings: "Settings", environ: dict[str, str], console: Console) -> int:
    """Look at the machine."""
    from pibuild.commands.doctor import examine  # noqa: PLC0415

    return examine(settings, environ, console)


def _shell(plan: "Plan", environ: dict[str, str]) -> int:
    """Become a shell in the container of the plan's build that failed."""
    from pibuild.adapters.docker import Engine  # noqa: PLC0415
    from pibuild.build.container import failed_image  # noqa: PLC0415

    engine = Engine(environ)
    failed = [one for one in plan.artifacts if engine.image_id(failed_image(one.slug))]
    if not failed:
        raise UsageError(
            f"No build or proof of {plan.title} has failed here", hint="pibuild plan shows what would be done"
        )
    artifact = failed[-1]
    command = ["docker", "run", "--rm", "--interactive", "--network=none", "--cap-drop=ALL", "--workdir=/work"]
    command += ["--tty"] if sys.stdin.isatty() else []
    command += [f"--user={os.getuid()}:{os.getgid()}", *(f"--env={key}={value}" for key, value in artifact.env)]
    command += [failed_image(artifact.slug), "bash"]
    print(f"{artifact.title}: its folder is /work; `bash recipe/build.sh` runs it again", file=sys.stderr)  # noqa: T201
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606  a person's shell takes this process's place
    except FileNotFoundError:
        raise UsageError(
            "pibuild shell needs the docker command line client", hint="apt-get install docker.io"
        ) from None


def _clean(
    settings: "Settings", environ: dict[str, str], console: Console, *, artifacts: bool, everything: bool
) -> int:
    """Remove what killed builds left; with `artifacts` what can be built again, with `everything` all."""
    from pibuild.adapters.docker import Engine  # noqa: PLC0415
    from pibuild.build.assembly import open_store  # noqa: PLC0415
    from pibuild.build.container import FAILED_IMAGES  # noqa: PLC0415

    store = open_store(settings, console)
    try:
        store.sweep()
        folders = (
            "logs",
            "downloads",
            *(("artifacts", "wheels") if artifacts else ()),
            *(("sources",) if everything else ()),
        )
        freed_bytes = store.empty(folders)
        try:
            engine = Engine(environ)
        except PibuildError as error:
            console.warn(f"{error.what}: containers and images stay")
        else:
            engine.remove_containers(store.id, store.is_dead)
            if artifacts:
                engine.remove_volumes(store.cache_prefix)
            for reference in engine.images("pibuild/" if everything else FAILED_IMAGES):
                engine.remove_image(reference)
    finally:
        store.close()
    console.result(f"{size(freed_bytes)} freed under {store.root}", {"freed_bytes": freed_bytes})
    return 0
