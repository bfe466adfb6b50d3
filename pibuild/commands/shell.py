"""`pibuild shell`: a shell in the container of the build that failed."""

import sys

from pibuild.commands.options import CommandParser, Invocation, add_build_options, add_selection
from pibuild.errors import UsageError

SUMMARY = "open a shell in the container of a build or proof that failed"
USAGE = "--target T --python V [OPTION...]"
EXAMPLES = ("pibuild shell --target pi-one --python 3.11",)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `shell`."""
    add_selection(parser)
    add_build_options(parser)


def run(invocation: Invocation) -> int:
    """Run a shell in the container of the plan's last artifact that failed; return its exit code."""
    from pibuild.build.catalogue import load_catalogue, requested
    from pibuild.build.container import failed_image, shell_run
    from pibuild.build.context import open_context
    from pibuild.build.wheelhouse import all_artifacts

    with open_context(invocation.settings, invocation.environ, invocation.console) as context:
        plan = requested(load_catalogue(context.own_images.names), context)
        failed = [artifact for artifact in all_artifacts(plan) if context.engine.image_id(failed_image(artifact.slug))]
        if not failed:
            hint = "build it first: if that fails, this command opens its container"
            raise UsageError(f"No build or proof of {plan.title} has failed here", hint=hint)
        artifact = failed[-1]
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        with context.container(shell_run(artifact, context, is_terminal=is_terminal)) as container:
            context.console.note(f"{artifact.title}: `bash recipe/{artifact.release.script}` in /work runs it again")
            return container.attach().exit_code
