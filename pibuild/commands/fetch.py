"""`pibuild fetch`: everything that a build needs from the network."""

from pibuild.commands.options import CommandParser, Invocation, add_build_options, add_selection

SUMMARY = "download everything that a build needs, for a machine that will be offline"
USAGE = "--target T --python V [OPTION...]"
EXAMPLES = ("pibuild fetch --target pi-one --python 3.11", "pibuild --target pi-one --python 3.11 --offline")


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `fetch`."""
    add_selection(parser)
    add_build_options(parser)


def run(invocation: Invocation) -> int:
    """Download the sources and make the images that a plan needs and this machine does not have."""
    from pibuild.build.catalogue import load_catalogue, requested
    from pibuild.build.context import open_context
    from pibuild.build.schedule import fetch
    from pibuild.model import Plan

    console = invocation.console
    with open_context(invocation.settings, invocation.environ, console) as context:
        plan = requested(load_catalogue(context.own_images.names), context)
        console.note(f"{plan.reason}; key {plan.key[:12]}")
        context.store.sweep()
        if isinstance(plan, Plan):
            done = fetch([plan], context)
        else:
            done = fetch([plan.plan, *plan.compiled], context, plan.packages)
    console.result(
        f"{len(done.sources)} sources and {len(done.images)} images added",
        {"sources": [source.name for source in done.sources], "images": [image.reference for image in done.images]},
    )
    return 0
