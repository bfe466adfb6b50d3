"""The objects that the steps of a build share: settings, the store, the adapters, and this process's totals.

Each part is made when it is first used, so that a command without containers needs no engine. Adapters that take time
to import are imported then, too.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pibuild
from pibuild.build.stopwatch import Stopwatch
from pibuild.config.project_files import project_folder
from pibuild.config.settings import Settings, machine_key_path, store_folder
from pibuild.console import Console
from pibuild.errors import PibuildError
from pibuild.model import Limits, Run, Spent
from pibuild.store.local import Store
from pibuild.store.own_images import OwnImages
from pibuild.store.transfers import remove_left
from pibuild.store.trust import Trust, trust_of, untrusted_remote

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pibuild.adapters.docker import Container, Engine
    from pibuild.adapters.http import Http
    from pibuild.adapters.mmdebstrap import Mmdebstrap
    from pibuild.build.image_registry import ImageRegistry
    from pibuild.sources.fetcher import Fetcher
    from pibuild.sources.refs import Refs
    from pibuild.store.remote import Remote

NOBODY = 65_000
"""The user and the group of containers where root calls pibuild. Debian's policy gives this id to no user (9.2.2)."""
_GB = 1_000_000_000
_RESERVED_BYTES = _GB // 2
"""Memory that is left to the engine and its system."""


@dataclass(kw_only=True)
class BuildContext:
    """The objects that every step uses, made once for any number of wheels."""

    settings: Settings
    environ: Mapping[str, str]
    console: Console
    uid: int = field(default_factory=lambda: os.getuid() or NOBODY)
    """The user and the group that containers run as: this process's, which is never root there."""
    gid: int = field(default_factory=lambda: os.getgid() or NOBODY)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    """Seconds, of which only differences count."""
    device_dir: Path = Path(pibuild.__file__).parent / "device"
    """The scripts that prove wheels on the device."""
    conformance_dir: Path = field(default_factory=lambda: project_folder("tests/conformance"))
    """The programs that prove a toolchain."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    """Wall time of sources, images and containers. The rest of a build's wall time is pibuild's own."""
    cpu_s: dict[str, float] = field(default_factory=dict)
    """CPU seconds by the key of the artifact that was built, or of the plan that was proven."""
    failed: dict[str, PibuildError] = field(default_factory=dict)
    """Errors of artifacts and images that are not tried again, by key; of an image, by its reference."""
    _claimed: set[str] = field(default_factory=set)
    """Keys whose CPU seconds were already counted for a wheel."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a total changes."""
    _is_interrupted: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def store(self) -> Store:
        """The folder of sources, artifacts and logs; `open_context` ends its session."""
        return Store(store_folder(self.settings), self.console, self.trust)

    @cached_property
    def own_images(self) -> OwnImages:
        """The images that this machine made of other versions than their locks have."""
        return OwnImages(self.store.root)

    @cached_property
    def trust(self) -> Trust:
        """The machines whose work is accepted from the shared store."""
        return trust_of(self.settings.store)

    def machine_key(self) -> "Ed25519PrivateKey":
        """Return this machine's private key, made if there is none yet; it signs what is shared."""
        from pibuild.signing.key_files import machine_key  # noqa: PLC0415

        return machine_key(machine_key_path(self.settings))

    @cached_property
    def engine(self) -> "Engine":
        """The Docker engine; containers and names of images that killed sessions left there are removed first."""
        from pibuild.adapters.docker import Engine  # noqa: PLC0415

        engine = Engine(self.environ)
        if removed := engine.remove_containers(self.store.id, self.store.is_dead):
            self.console.note(f"removed {removed} container(s) that a killed pibuild left")
        remove_left(self.store, engine.remove_image)
        return engine

    def sweep(self) -> None:
        """Remove what killed sessions left in the store, and at the engine if it answers."""
        if self.store.sweep():
            with suppress(PibuildError):
                _ = self.engine

    def remove_own_containers(self) -> None:
        """Remove the containers of this process, and start no others: it was interrupted."""
        self._is_interrupted.set()
        self.engine.remove_containers(self.store.id, lambda session: session == self.store.session)

    @contextmanager
    def container(self, run: Run) -> Iterator["Container"]:
        """Make a container, which is removed at the end of the block.

        Raises KeyboardInterrupt in every thread if this process was interrupted: the container did not fail.
        """
        self.check_interruption()
        try:
            with self.engine.container(run) as container:
                yield container
        except PibuildError:
            self.check_interruption()
            raise
        self.check_interruption()

    def check_interruption(self) -> None:
        """Raise KeyboardInterrupt if this process was interrupted, and so its containers were removed."""
        if self._is_interrupted.is_set():
            raise KeyboardInterrupt

    @cached_property
    def limits(self) -> Limits:
        """What one container may use: the engine's processors and memory where nothing else is set."""
        engine, settings = self.engine, self.settings
        memory_bytes = int(settings.memory * _GB) if settings.memory else engine.memory_bytes - _RESERVED_BYTES
        return Limits(
            jobs=settings.jobs or max(1, min(engine.cpus, memory_bytes // _GB)),
            cpus=engine.cpus,
            memory_bytes=memory_bytes,
            deadline_s=settings.deadline * 60,
            uid=self.uid,
            gid=self.gid,
        )

    @cached_property
    def bootstrap(self) -> "Mmdebstrap":
        """The adapter that makes the root file system of the base image."""
        from pibuild.adapters.mmdebstrap import Mmdebstrap  # noqa: PLC0415

        return Mmdebstrap(self.environ)

    @cached_property
    def http(self) -> "Http":
        """HTTP by the person's own proxies and certificates."""
        from pibuild.adapters.http import Http  # noqa: PLC0415

        return Http(self.environ, note=self.console.note)

    @cached_property
    def fetcher(self) -> "Fetcher":
        """The fetcher, which puts sources into the store."""
        from pibuild.adapters.debian import Debian  # noqa: PLC0415
        from pibuild.adapters.git import Git  # noqa: PLC0415
        from pibuild.adapters.npm import Npm  # noqa: PLC0415
        from pibuild.adapters.pypi import Pypi  # noqa: PLC0415
        from pibuild.sources.fetcher import Fetcher  # noqa: PLC0415

        state_dir = self.store.session_dir / "apt"
        return Fetcher(
            git=Git(self.environ),
            http=self.http,
            pypi=Pypi(self.http, self.environ),
            npm=Npm(self.environ),
            debian=Debian(self.http, self.environ, state_dir=state_dir, note=self.console.note),
            store=self.store,
            console=self.console,
            mirrors=self.settings.mirrors,
            offline=self.settings.offline,
            now=self.now,
        )

    @cached_property
    def refs(self) -> "Refs":
        """The resolver of branches and tags. Each is looked up once."""
        from pibuild.sources.refs import Refs  # noqa: PLC0415

        return Refs(self.fetcher)

    @cached_property
    def remote(self) -> "Remote":
        """The shared store. Without an address, and with --offline, it returns and stores nothing.

        A warning is printed if any machine's work is taken from it, and others than this user can write there.
        """
        from pibuild.adapters.rclone import Rclone  # noqa: PLC0415
        from pibuild.store.folder_access import is_own_folder  # noqa: PLC0415
        from pibuild.store.remote import Remote  # noqa: PLC0415
        from pibuild.store.remote_folders import LocalFolder, ServedFolder  # noqa: PLC0415

        remote, folder = self.settings.store.remote, None
        if remote and not self.settings.offline:
            address = remote.reveal()
            is_server = address.startswith(("http://", "https://"))
            folder = (
                LocalFolder(Path(address))
                if address.startswith("/")
                else ServedFolder(self.http if is_server else Rclone(self.environ), remote)
            )
            is_own = address.startswith("/") and is_own_folder(Path(address))
            if self.trust.listed is None and not is_own:
                self.console.warn(untrusted_remote(str(remote)))
        return Remote(folder, store=self.store, console=self.console, trust=self.trust, key=self.machine_key)

    @cached_property
    def image_registry(self) -> "ImageRegistry":
        """The registry of shared images. Without an address, and with --offline, it returns and stores nothing.

        A warning is printed if images of any machine are taken from it.
        """
        from pibuild.build.image_registry import ImageRegistry  # noqa: PLC0415

        images = self.settings.images
        address = "" if self.settings.offline else images.registry or ""
        if address and self.trust.listed is None:
            self.console.warn(untrusted_remote(address))
        return ImageRegistry(
            address,
            is_pushed_to=images.push,
            engine=lambda: self.engine,
            store=self.store,
            console=self.console,
            trust=self.trust,
            key=self.machine_key,
        )

    def count(self, key: str, spent: Spent) -> None:
        """Add what a container cost to the totals; `key` is that of the artifact or plan that it ran for."""
        with self._lock:
            self.cpu_s[key] = self.cpu_s.get(key, 0.0) + spent.cpu_s

    def claim_cpu_s(self, keys: Iterable[str]) -> float:
        """Return the CPU seconds of the containers of some keys, without those that an earlier call has returned."""
        with self._lock:
            unclaimed = set(keys) - self._claimed
            self._claimed |= unclaimed
            return sum(self.cpu_s.get(key, 0.0) for key in unclaimed)

    @contextmanager
    def once(self, key: str) -> Iterator[None]:
        """Remember an error of the block by a key, and raise it at once next time: cells share artifacts and images."""
        if error := self.failed.get(key):
            raise error
        try:
            yield
        except PibuildError as error:
            with self._lock:
                if error not in self.failed.values():  # of something that this key needs
                    self.failed[key] = error
            raise


@contextmanager
def open_context(settings: Settings, environ: Mapping[str, str], console: Console) -> Iterator[BuildContext]:
    """Make a context whose store is closed at the end of the block, and whose containers an interruption removes."""
    context = BuildContext(settings=settings, environ=environ, console=console)
    try:
        yield context
    except KeyboardInterrupt:
        if "engine" in context.__dict__:
            with suppress(PibuildError):
                context.remove_own_containers()
        raise
    finally:
        if "store" in context.__dict__:  # it was used
            context.store.close()
