"""`pibuild build`, which is also pibuild without a command."""

from pibuild.commands.options import SWITCH, CommandParser, Invocation, add_build_options, add_options, add_selection
from pibuild.errors import RebuildError

SUMMARY = "build and prove a wheel (what pibuild does without a command)"
USAGE = "--target T --python V [OPTION...]"
EXAMPLES = (
    "pibuild --target pi-one --python 3.11",
    "pibuild build --target pi-two --python 3.5 --with-dependencies",
    "pibuild build --target pi-one --python 3.11 --rebuild",
)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `build`."""
    add_selection(parser)
    output = parser.add_argument_group("output")
    add_options(output, "--output")
    output.add_argument("--legacy-name", **SWITCH, help="also write copies under the file names of 2017")
    group = parser.add_argument_group("check")
    help_text = "then build everything again, compare with the store"
    group.add_argument("--rebuild", action="store_true", help=help_text)
    add_build_options(parser)


def run(invocation: Invocation) -> int:
    """Build and prove the wheel unless the store has it, and copy it into the output folder; then rebuild it if asked.

    Raises RebuildError, after the result is printed, if an artifact that was built again differs.
    """
    from dataclasses import asdict
    from pathlib import Path

    from pibuild.build.catalogue import load_catalogue, requested
    from pibuild.build.context import open_context
    from pibuild.build.rebuild import rebuild
    from pibuild.build.replanning import plan_in
    from pibuild.build.wheelhouse import make_wheels, stored_wheels
    from pibuild.store.local import deliver

    settings, console = invocation.settings, invocation.console
    with open_context(settings, invocation.environ, console) as context:
        plan = requested(load_catalogue(context.own_images.names), context)
        console.note(f"{plan.reason}; key {plan.key[:12]}")
        if entries := stored_wheels(plan, context.store):
            console.note("nothing to do: built and proven before")
        else:
            context.sweep()
            entries = make_wheels(plan, context)
            plan = plan_in(plan, context.own_images.names)  # which making them may have changed
        *dependencies, wheel = entries
        for entry in dependencies:
            deliver(entry, Path(settings.output))
        path = deliver(wheel, Path(settings.output), with_legacy_names=settings.legacy_name)
        results = [*rebuild(plan, context)] if invocation.args.rebuild else []
    facts = wheel.facts | {"path": str(path)}
    if invocation.args.rebuild:
        facts |= {"rebuilt": [asdict(result) | {"is_equal": result.difference is None} for result in results]}
    console.result("\n".join([str(path), *(result.line for result in results)]), facts)
    if different := [result.line for result in results if result.difference]:
        what = f"{len(different)} of {len(results)} artifacts differ from the store's when they are built again"
        raise RebuildError(what, details=different)
    return 0
