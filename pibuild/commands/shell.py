"""`pibuild shell`: a shell in the container of the build that failed."""

import os
import sys

from pibuild.commands.options import CommandParser, Invocation, add_general, add_network, add_selection
from pibuild.errors import UsageError

SUMMARY = "open a shell in the container of a build or proof that failed"
USAGE = "--target T --python V [OPTION...]"
EXAMPLES = ("pibuild shell --target pi-one --python 3.11",)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `shell`."""
    add_selection(parser)
    add_network(parser)
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Replace this process by a shell in the container of the plan's last artifact that failed."""
    from pibuild.adapters.docker import Engine
    from pibuild.build.assembly import decide
    from pibuild.build.container import failed_image

    plan = decide(invocation.settings, invocation.environ, invocation.console)
    engine = Engine(invocation.environ)
    failed = [artifact for artifact in plan.artifacts if engine.image_id(failed_image(artifact.slug))]
    if not failed:
        raise UsageError(
            f"No build or proof of {plan.title} has failed here", hint="pibuild plan shows what would be done"
        )
    artifact = failed[-1]
    command = ["docker", "run", "--rm", "--interactive", "--network=none", "--cap-drop=ALL", "--workdir=/work"]
    command += ["--tty"] if sys.stdin.isatty() else []
    command += [f"--user={os.getuid()}:{os.getgid()}", *(f"--env={key}={value}" for key, value in artifact.env)]
    command += [failed_image(artifact.slug), "bash"]
    invocation.console.note(f"{artifact.title}: its folder is /work; `bash recipe/build.sh` runs it again")
    try:
        os.execvpe(command[0], command, dict(invocation.environ))  # noqa: S606  a person's shell takes this process's place
    except FileNotFoundError:
        raise UsageError(
            "pibuild shell needs the docker command line client", hint="apt-get install docker.io"
        ) from None
