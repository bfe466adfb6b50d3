"""`pibuild fetch`: everything that a build needs from the network."""

from pibuild.commands.options import CommandParser, Invocation, add_general, add_limits, add_network, add_selection

SUMMARY = "download everything that a build needs, for a machine that will be offline"
USAGE = "--target T --python V [OPTION...]"
EXAMPLES = ("pibuild fetch --target pi-one --python 3.11", "pibuild --target pi-one --python 3.11 --offline")


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `fetch`."""
    add_selection(parser)
    add_network(parser)
    add_limits(parser)
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Bring the sources and images of a plan here."""
    from contextlib import closing

    from pibuild.build.assembly import decide, decide_wheelhouse, make_ports, open_store
    from pibuild.build.schedule import prepare
    from pibuild.model import Plan

    settings, environ, console = invocation.settings, invocation.environ, invocation.console
    plan = (decide_wheelhouse if settings.with_dependencies else decide)(settings, environ, console)
    with closing(open_store(settings, console)) as store:
        console.note(f"{plan.reason}; key {plan.key[:12]}")
        store.sweep()
        ports = make_ports(settings, environ, store, console)
        if isinstance(plan, Plan):
            done = prepare([plan], ports)
        else:
            done = prepare([plan.plan, *plan.compiled], ports, plan.packages)
    console.result(
        f"{len(done.sources)} sources and {len(done.images)} images are here",
        {"sources": [source.name for source in done.sources], "images": [image.reference for image in done.images]},
    )
    return 0
