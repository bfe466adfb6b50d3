"""`pibuild doctor`: whether this machine can build, and a remedy for each fault.

Each check really uses the thing: it connects to the engine, and downloads a file from servers. None writes outside a
temporary folder, except that this machine's key is made if there is a shared store and no key yet.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pibuild.commands.options import CommandParser, Invocation, add_general, add_options
from pibuild.console import size
from pibuild.errors import (
    BuildError,
    EngineError,
    ImageError,
    PibuildError,
    RegistryError,
    ResourceError,
    StoreError,
)

SUMMARY = "check the engine, disk, memory and network, and name remedies"
USAGE = "[OPTION...]"
EXAMPLES = ("pibuild doctor",)

_UPSTREAM = "https://github.com/google/ruy.git"
_GB = 1_000_000_000
_WANTED_DISK_BYTES = 12 * _GB
_WANTED_MEMORY_BYTES = 2 * _GB


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The result of one check, and the remedy if it failed."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = True


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `doctor`."""
    add_options(parser.add_argument_group("network"), "--mirrors")
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Make every check and print it; return 0, or 4 if something that every build needs is missing."""
    findings = list(_findings(invocation))
    lines = []
    for finding in findings:
        lines.append(f"{'✓' if finding.ok else '✗' if finding.required else '-'} {finding.name}: {finding.found}")
        lines += [f"    {finding.remedy}"] if finding.remedy else []
    invocation.console.result("\n".join(lines), [asdict(finding) for finding in findings])
    return EngineError.exit_code if any(finding.required and not finding.ok for finding in findings) else 0


def _findings(invocation: Invocation) -> Iterator[Diagnosis]:
    import tempfile

    from pibuild.adapters.debian import Debian
    from pibuild.adapters.git import Git
    from pibuild.adapters.http import Http
    from pibuild.adapters.npm import Npm
    from pibuild.adapters.pypi import Pypi

    settings, environ = invocation.settings, invocation.environ

    def network(name: str, check: Callable[[], str | None], remedy: str, *, required: bool = False) -> Diagnosis:
        """Make a check that returns the hosts that answered, or None."""
        return _checked(name, lambda: f"{check() or 'the registry'} answers", remedy=remedy, required=required)

    yield from _engine(environ)
    yield from _sharing(invocation)
    if settings.images.registry:
        yield _registry(invocation)
    if settings.remote_execution:
        yield _remote(invocation)
    yield _checked("disk", lambda: _disk(invocation))
    yield _checked("processor", _processor)
    yield _checked("base image", lambda: _base(environ), required=False)
    http = Http(environ, note=lambda _text: None)
    with tempfile.TemporaryDirectory() as folder:
        debian = Debian(http, environ, state_dir=Path(folder), note=lambda _text: None)
        yield network("Debian packages", debian.check, "check apt's sources and proxy")
    yield network("PyPI", Pypi(http, environ).check, "check pip's index-url and proxy: pip config list", required=True)
    yield network("npm", Npm(environ).check, "only recipes that use Bazel need npm")
    if settings.mirrors:
        yield Diagnosis(name="git", ok=True, found=f"mirrors: {', '.join(map(str, settings.mirrors))}", required=False)
    else:
        remedy = "most sources have other places, too; `mirrors:` can name folders of bare clones"
        yield network("git upstream", lambda: Git(environ).resolve(_UPSTREAM, "master") and _UPSTREAM, remedy)


def _checked(name: str, check: Callable[[], str], *, remedy: str = "", required: bool = True) -> Diagnosis:
    """Make a check, which returns what it found or raises PibuildError; `remedy` stands behind the error's own hint."""
    try:
        return Diagnosis(name=name, ok=True, found=check(), required=required)
    except PibuildError as error:
        found = ": ".join(part for part in (error.what, error.found) if part)
        remedies = "; ".join(filter(None, (error.hint, remedy)))
        return Diagnosis(name=name, ok=False, found=found, remedy=remedies, required=required)


def _engine(environ: Mapping[str, str]) -> Iterator[Diagnosis]:
    from pibuild.adapters.docker import Engine

    engines: list[Engine] = []

    def connection() -> str:
        engines.append(Engine(environ))
        return f"{engines[0].version}, {engines[0].cpus} processors"

    def memory() -> str:
        if not engines:
            raise EngineError("unknown without an engine")
        if engines[0].memory_bytes < _WANTED_MEMORY_BYTES:
            raise ResourceError(
                size(engines[0].memory_bytes), hint=f"give the engine {size(_WANTED_MEMORY_BYTES)} or more"
            )
        return size(engines[0].memory_bytes)

    yield _checked("Docker engine", connection)
    yield _checked("memory", memory)


def _sharing(invocation: Invocation) -> Iterator[Diagnosis]:
    """Yield this machine's public key and the number of trusted machines, if a shared store or a registry is set."""
    from pibuild.config.settings import machine_key_path
    from pibuild.signing.key_files import machine_key, public_text
    from pibuild.store.trust import trust_of

    storage = invocation.settings.store
    places = " and ".join(str(place) for place in (storage.remote, invocation.settings.images.registry) if place)
    if not places:
        return

    def key() -> str:
        path = machine_key_path(invocation.settings)
        return f"{public_text(machine_key(path).public_key())} ({path})"

    def trusted() -> str:
        listed = trust_of(storage).listed
        if listed is None:
            found = f"work of every machine is taken from {places}"
            raise StoreError(found, hint="list the keys of your machines in `store: trust:`")
        return f"work of {len(listed)} other machine(s) is taken from {places}"

    yield _checked("this machine's key", key, remedy="the key signs what this machine shares")
    yield _checked("trust", trusted, required=False)


def _registry(invocation: Invocation) -> Diagnosis:
    """Let the engine ask the registry of images for the toolchains of this version."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.build.context import open_context

    address = str(invocation.settings.images.registry)
    host = address.partition("/")[0]

    def check() -> str:
        with open_context(invocation.settings, invocation.environ, invocation.console) as context:
            toolchains = {name: roles["toolchain"] for name, roles in load_catalogue().images.items()}
            try:
                present = [name for name, image in toolchains.items() if context.image_registry.has(image)]
            except RegistryError as error:
                if error.is_denied:
                    error.hint = f"docker login {host}"
                raise
        which = f"the toolchains of {', '.join(present)}" if present else "no toolchain of this version yet"
        return f"{address} answers, and this machine may read it; it has {which}"

    remedy = "images are made here until then; `images: registry:` is HOST/PATH, docs/images.md"
    return _checked("registry of images", check, remedy=remedy, required=False)


def _remote(invocation: Invocation) -> Diagnosis:
    """Check the server of remote execution: what it speaks, and one action for each toolchain image that is here."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.build.context import open_context
    from pibuild.build.remote_execution import probe

    settings = invocation.settings.remote_execution

    def check() -> str:
        if settings is None:
            raise BuildError("no server is set")
        with open_context(invocation.settings, invocation.environ, invocation.console) as context:
            images = load_catalogue(context.own_images.names).images
            found = {name: context.engine.image_id(roles["toolchain"].reference) for name, roles in images.items()}
            targets = [name for name, image_id in found.items() if image_id]
            if not targets:
                raise BuildError("untested: this machine has no toolchain image yet", hint="the first build makes one")
            reports = {name: probe(settings, images[name]["toolchain"].reference, context) for name in targets}
        served = [name for name, report in reports.items() if not report["problem"]]
        if not served:
            raise BuildError(f"{settings.server}: {next(iter(reports.values()))['problem']}")
        version = reports[served[0]]["version"]
        lacking = [name for name in targets if name not in served]
        more = f"; no worker for {', '.join(lacking)}" if lacking else ""
        return f"{settings.server} speaks {version} and has workers for {', '.join(served)}{more}"

    remedy = "builds compile here; docs/remote-execution.md"
    return _checked("remote execution", check, remedy=remedy, required=bool(settings and settings.required))


def _disk(invocation: Invocation) -> str:
    import shutil

    from pibuild.config.settings import store_folder

    folder = store_folder(invocation.settings)
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    found = f"{size(free_bytes)} free under {folder}"
    if free_bytes < _WANTED_DISK_BYTES:
        needed = f"images, sources and artifacts need {size(_WANTED_DISK_BYTES)}"
        raise ResourceError(found, hint=f"make room: {needed} (pibuild clean --artifacts)")
    return found


def _processor() -> str:
    import platform

    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        raise EngineError(machine, hint="the images are for x86-64: set DOCKER_HOST to an engine on x86-64")
    return f"{machine}; the emulator is in the images, so the kernel needs no setup"


def _base(environ: Mapping[str, str]) -> str:
    import shutil

    if shutil.which("mmdebstrap", path=environ.get("PATH")) is None:
        hint = "a new base image then comes from a registry, under another name: apt-get install mmdebstrap"
        raise ImageError("mmdebstrap is missing", hint=hint)
    return "mmdebstrap is installed"
