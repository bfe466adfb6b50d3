"""`pibuild clean`: remove leftovers of killed builds, and on request everything that can be built again."""

from pibuild.commands.options import CommandParser, Invocation, add_general

SUMMARY = "remove logs, failed containers and the files of killed builds"
USAGE = "[OPTION...]"
EXAMPLES = ("pibuild clean", "pibuild clean --artifacts")


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `clean`."""
    group = parser.add_argument_group("what else is removed")
    group.add_argument("--artifacts", action="store_true", help="also artifacts, wheels and compiler caches")
    group.add_argument("--all", action="store_true", help="everything: these, and sources and images")
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Remove what the options name from the store and the engine, and print how much disk space that freed."""
    from pibuild.build.container import FAILED_IMAGES
    from pibuild.build.context import open_context
    from pibuild.console import size
    from pibuild.errors import PibuildError

    args, console = invocation.args, invocation.console
    has_artifacts = args.artifacts or args.all
    folders = ["logs", "downloads"]
    folders += ["artifacts", "wheels"] if has_artifacts else []
    folders += ["sources", "rebuilds"] if args.all else []
    with open_context(invocation.settings, invocation.environ, console) as context:
        store = context.store
        store.sweep()
        freed_bytes = store.empty(tuple(folders))
        try:
            engine = context.engine  # without what killed sessions have left
        except PibuildError as error:
            console.warn(f"{error.what}: containers and images are not removed")
        else:
            if has_artifacts:
                engine.remove_volumes(store.cache_prefix)
            for reference in engine.images("pibuild/" if args.all else FAILED_IMAGES):
                engine.remove_image(reference)
            if args.all:
                context.own_images.forget()
    console.result(f"{size(freed_bytes)} freed under {store.root}", {"freed_bytes": freed_bytes})
    return 0
