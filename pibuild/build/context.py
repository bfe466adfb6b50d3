"""Ports: the outside things that the steps work through, and what one process remembers of them.

Made by assembly, once for any number of wheels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from pibuild.adapters.docker import Engine
from pibuild.build import images
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.errors import PibuildError
from pibuild.model import Base, Limits
from pibuild.sources import fetcher as sources
from pibuild.store.local import Store
from pibuild.store.remote import Remote

_GB = 1_000_000_000
_SPARED_BYTES = _GB // 2
"""Memory that the engine and the system keep."""


@dataclass(kw_only=True)
class Ports:
    """The outside things, made once; the engine is asked for only when a step needs it."""

    connect: Callable[[], Engine]
    bootstrap: images.Bootstrap
    fetcher: sources.Fetcher
    store: Store
    remote: Remote
    console: Console
    settings: Settings
    base: Base
    check_dir: Path
    programs_dir: Path
    """Of the conformance set."""
    models: Sequence[Path]
    uid: int
    gid: int
    now: Callable[[], datetime]
    clock: Callable[[], float]
    """Seconds, of which only differences count."""
    spent_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("sources", "images", "containers"), 0.0))
    """Wall time by what it went to; the rest of a build's is pibuild's own."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    """CPU seconds of each artifact that was built and each plan that was proven, by key …"""
    failed: dict[str, PibuildError] = field(default_factory=dict)
    """… and why one could not be, which is not tried again; an image's by its reference."""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count what is done meanwhile as spent on this."""
        began_s = self.clock()
        try:
            yield
        finally:
            self.spent_s[name] += self.clock() - began_s

    @cached_property
    def engine(self) -> Engine:
        """The engine, with what dead sessions left there removed."""
        engine = self.connect()
        if removed := engine.remove_containers(self.store.id, self.store.is_dead):
            self.console.note(f"removed {removed} container(s) that a killed pibuild left")
        return engine

    @cached_property
    def limits(self) -> Limits:
        """What a container may use: the engine's processors and memory where nothing else is set."""
        engine, settings = self.engine, self.settings
        memory_bytes = int(settings.memory * _GB) if settings.memory else engine.memory_bytes - _SPARED_BYTES
        return Limits(
            jobs=settings.jobs or max(1, min(engine.cpus, memory_bytes // _GB)),
            cpus=engine.cpus,
            memory_bytes=memory_bytes,
            deadline_s=settings.deadline * 60,
            uid=self.uid,
            gid=self.gid,
        )

    @contextmanager
    def once(self, key: str) -> Iterator[None]:
        """Remember what fails, so that the next cell that shares it fails of the same cause at once."""
        if error := self.failed.get(key):
            raise error
        try:
            yield
        except PibuildError as error:
            if error not in self.failed.values():  # it failed for what it needs
                self.failed[key] = error
            raise
