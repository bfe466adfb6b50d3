"""`pibuild run`: a command on an emulated Pi that has a wheel installed."""

import sys

from pibuild.commands.options import (
    CommandParser,
    Invocation,
    add_general,
    add_limits,
    add_network,
    add_target_and_python,
    readable_files,
)
from pibuild.errors import UsageError

SUMMARY = "run a command on an emulated Pi on which a wheel is installed"
USAGE = "WHEEL [OPTION...] -- COMMAND [ARG...]"
EXAMPLES = (
    'pibuild run thing-1.0-cp311-cp311-linux_armv6l.whl -- python -c "import thing"',
    "pibuild run thing.whl --os bookworm --model pi-4-b -- python - < script.py",
)

_OUR_PYTHON, _USERS_OWN = "/opt/pibuild/python", "/work/build/.local"
"""Where packages stand beside the Python of our recipe, and where they do with a system's own."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `run`; the command behind `--` is main's to split off."""
    parser.add_argument("wheel", metavar="WHEEL", help="path of a wheel; pip finds its dependencies in its folder")
    group = parser.add_argument_group("the Pi (default: what the wheel's tags say)")
    add_target_and_python(group)
    group.add_argument("--model", metavar="M", help="the board, such as pi-4-b (default: a Zero W or a 2 B)")
    group.add_argument("--os", metavar="RELEASE", help="release of Raspberry Pi OS, with its Python: bookworm, ...")
    group.add_argument("--raspbian", metavar="URL", help="archive of Raspbian that --os is taken from")
    add_network(parser)
    add_limits(parser)
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Run the command on the Pi that the wheel or the person asks for; return the command's exit code."""
    from contextlib import closing

    from packaging.utils import canonicalize_name

    from pibuild.build import schedule
    from pibuild.build.assembly import load_catalogue, make_ports, open_store
    from pibuild.build.planning import on_device
    from pibuild.emulate import session
    from pibuild.emulate.choose import DeviceRequest, choose
    from pibuild.emulate.environment import device_image, fitting_wheels, package_of, plan_beside, pythons_of
    from pibuild.wheels.wheel import WheelFormatError, wheel_name

    args, settings = invocation.args, invocation.settings
    (path,) = readable_files([args.wheel])
    try:
        wheel = wheel_name(path.name)
    except WheelFormatError as error:
        raise UsageError(f"{path.name} is no wheel's name", found=str(error)) from error
    catalogue = load_catalogue()
    request = DeviceRequest(target=settings.target, python=settings.python, model=args.model, system=args.os)
    device = choose(wheel, request, catalogue.targets, pythons_of(catalogue))
    plan = plan_beside(wheel, device, catalogue)
    image = device_image(device, catalogue, settings.raspbian)
    beside = fitting_wheels(path, device)
    with closing(open_store(settings, invocation.console)) as store:
        ports = make_ports(settings, invocation.environ, store, invocation.console)
        brought = {package_of(wheel_path) for wheel_path in beside}
        recipes = catalogue.recipes.values()
        without = [recipe.name for recipe in recipes if canonicalize_name(recipe.package_name) in brought]
        has_python = image.name == "userland"
        without += ["cpython"] if has_python else []
        made = {}
        if plan:
            artifacts = [artifact for artifact in on_device(plan) if artifact.recipe.name not in without]
            made = schedule.place(plan, image, artifacts, ports, "pibuild run")
        else:
            ports.engine.check()
            schedule.ensure_image(image, ports)
        folders = {name: catalogue.recipes[name].device.format(python=device.python) for name in made}
        return session.start(
            path,
            beside,
            args.command_words,
            device=device,
            image=image,
            installed=tuple(
                (folder.replace(_OUR_PYTHON, _USERS_OWN) if has_python else folder, made[name])
                for name, folder in folders.items()
            ),
            ports=ports,
            is_terminal=sys.stdin.isatty() and sys.stdout.isatty(),
        )
