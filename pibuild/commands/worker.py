"""`pibuild worker`: a machine that runs compile actions of other machines."""

from pibuild.commands.options import CommandParser, Invocation, add_general, add_network, add_options
from pibuild.errors import BuildError, UsageError

SUMMARY = "run compile actions for a server of remote execution"
USAGE = "--target T [--server URL] [--jobs N] [OPTION...]"
EXAMPLES = (
    "pibuild worker --target pi-one --server grpcs://build.example.org:8443 --certificate worker.pem",
    "pibuild worker --target pi-two --server grpcs://build.example.org:8443 --certificate worker.pem --jobs 8",
)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `worker`."""
    group = parser.add_argument_group("worker")
    add_options(group, "--target")
    group.add_argument("--server", metavar="URL", help="the server (default: that of `remote_execution:`)")
    group.add_argument("--certificate", metavar="FILE", help="PEM file: certificate, key, authority of the server")
    group.add_argument("--name", metavar="NAME", help="name of this worker (default: the machine's)")
    add_options(group, "--jobs", "--memory")
    add_network(parser)
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Run a worker in the target's toolchain image until it is interrupted; return 0.

    The image is made first if the engine does not have it. Raises BuildError if the worker's container ends.
    """
    import platform
    from dataclasses import replace

    from pibuild.build.catalogue import load_catalogue
    from pibuild.build.context import open_context
    from pibuild.build.images import ensure_planned
    from pibuild.build.remote_execution import worker
    from pibuild.config.settings_sources import execution_settings
    from pibuild.config.targets import find_target

    args, settings, console = invocation.args, invocation.settings, invocation.console
    if not settings.target:
        raise UsageError("worker needs --target", hint="--target pi-one; `pibuild list` shows all targets")
    remote = execution_settings(settings, server=args.server, certificate=args.certificate)
    with open_context(settings, invocation.environ, console) as context:
        catalogue = load_catalogue(context.own_images.names)
        target = find_target(settings.target, catalogue.targets)
        image = catalogue.images[target.name]["toolchain"]
        context.store.sweep()
        ensure_planned(image, context)
        remote = replace(remote, jobs=context.limits.jobs)
        name = args.name or f"{platform.node()}-{target.name}"
        console.note(f"{name}: {remote.jobs} actions at a time in {image.reference}, for {remote.server}")
        try:
            with worker(remote, image.reference, context, name=name) as over:
                over.wait()
        except KeyboardInterrupt:
            console.note(f"{name} has ended")
            return 0
    raise BuildError(
        f"The container of the worker {name} has ended unexpectedly", hint="the same command starts it again"
    )
