"""`pibuild run`: a command on an emulated Pi that has a wheel installed."""

import sys
from typing import Any

from pibuild.commands.options import CommandParser, Invocation, add_build_options, add_options, refuse_idle, wheel_path
from pibuild.errors import UsageError

SUMMARY = "install a wheel on an emulated Pi and run a command there"
USAGE = "WHEEL [OPTION...] -- COMMAND [ARG...]"
EXAMPLES = (
    'pibuild run thing-1.0-cp311-cp311-linux_armv6l.whl -- python -c "import thing"',
    "pibuild run thing.whl --os bookworm --model pi-4-b -- python - < script.py",
    "pibuild run thing-1.0-cp311-abi3-manylinux_2_28_aarch64.whl --model pi-5 -- python -m thing",
    "pibuild run thing.whl --copy model.tflite bench.py --collect times.json -- python bench.py",
)

_OUR_PYTHON, _USERS_OWN = "/opt/pibuild/python", "/work/build/.local"
"""Folders of packages: of the Python that pibuild builds, and of the system's own Python."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `run`; its command, which follows `--`, is not parsed."""
    parser.add_argument("wheel", metavar="WHEEL", help="path of a wheel; its dependencies come from its folder")
    group = parser.add_argument_group("which Pi (default: the one that the wheel's tags name)")
    add_options(group, "--target", "--python")
    group.add_argument("--model", metavar="M", help="board, such as pi-4-b (default: a Zero W, Pi 2 B or Pi 3 B)")
    group.add_argument("--os", metavar="RELEASE", help="release of Raspberry Pi OS, such as bookworm")
    help_text = "bits of the system: 32 or 64 (default: the wheel's)"
    group.add_argument("--bits", choices=("32", "64"), metavar="N", help=help_text)
    group.add_argument("--raspbian", metavar="URL", help="Raspbian archive from which --os is installed")
    group = parser.add_argument_group("files")
    paths: dict[str, Any] = {"default": [], "metavar": "PATH"}
    group.add_argument(
        "--copy", **paths, action="extend", nargs="+", help="files and folders to copy to the emulated Pi"
    )
    group.add_argument(
        "--collect", **paths, action="append", help="file or folder to copy back into the current folder"
    )
    add_build_options(parser)


def run(invocation: Invocation) -> int:
    """Run the command on the Pi that the options or the wheel's tags name; return the command's exit code."""
    from dataclasses import replace

    from packaging.utils import canonicalize_name

    from pibuild.build import images, schedule
    from pibuild.build.catalogue import load_catalogue
    from pibuild.build.context import open_context
    from pibuild.build.planning import on_device
    from pibuild.emulate import device_choice, session
    from pibuild.emulate.transfer import named_copies, result_paths
    from pibuild.wheels.wheel import WheelFormatError, wheel_name

    args, settings = invocation.args, invocation.settings
    if args.os is None:
        refuse_idle(invocation, ("raspbian",), "--os")
    path, copies, results = wheel_path(args.wheel), named_copies(args.copy), result_paths(args.collect)
    try:
        wheel = wheel_name(path.name)
    except WheelFormatError as error:
        raise UsageError(f"{path.name} is not the name of a wheel", found=str(error)) from error
    catalogue = load_catalogue()
    bits = int(args.bits) if args.bits else None
    request = device_choice.DeviceRequest(
        target=settings.target, python=settings.python, model=args.model, system=args.os, bits=bits
    )
    device = device_choice.choose(wheel, request, catalogue.targets, device_choice.pythons_by_bits(catalogue))
    plan = device_choice.plan_beside(wheel, device, catalogue)
    image = device_choice.device_image(device, catalogue, settings.raspbian)
    wheels = device_choice.fitting_wheels(path, device)
    packages = {wheel_name(path.name).name for path in wheels}
    recipes = catalogue.recipes.values()
    omitted = [recipe.name for recipe in recipes if canonicalize_name(recipe.package_name) in packages]
    own_pythons = device_choice.emulated_pythons(device.system) if device.system else ()
    has_python = image.name in ("userland", "device64") and device.python in own_pythons
    omitted += ["cpython"] if has_python else []
    with open_context(settings, invocation.environ, invocation.console) as context:
        installed = []
        if plan:
            artifacts = [artifact for artifact in on_device(plan) if artifact.recipe.name not in omitted]
            entries, present = schedule.make_artifacts(plan, artifacts, image, context)
            for artifact in artifacts:
                folder = artifact.recipe.device.format(python=device.python)
                folder = folder.replace(_OUR_PYTHON, _USERS_OWN) if has_python else folder
                installed.append((folder, entries[artifact.key]))
        else:
            present = images.ensure_image(image, context)
        return session.start(
            wheels,
            args.command_words,
            device=device,
            image=replace(image, reference=present.reference),
            installed=installed,
            context=context,
            is_terminal=sys.stdin.isatty() and sys.stdout.isatty(),
            copies=copies,
            results=results,
        )
