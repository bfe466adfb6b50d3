"""The Docker engine: images and one-shot containers, by the SDK.

Knows the engine's API and its errors. What goes into an image or a container is the callers' knowledge. Nothing is
mounted from this machine: files are copied in and out, so the engine may be on another machine.
"""

import io
import json
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from pibuild.adapters.cache_preparation import OF_ANOTHER_USER, CacheStep, filling, taking_over
from pibuild.adapters.container_files import SHARED, inputs_tar, kept_paths
from pibuild.adapters.container_options import container_options
from pibuild.adapters.engine_endpoint import chosen_endpoint, engine_error
from pibuild.adapters.image_transfer import ImageTransfer
from pibuild.console import size
from pibuild.errors import BuildError, EngineError, ImageError, PibuildError, ResourceError
from pibuild.model import SESSION_LABEL, STORE_LABEL, Outcome, Run

_API_TIMEOUT_S = 600
_PLATFORM = "linux/amd64"
"""The platform of the images that are pulled. Registries have some images for several platforms."""
_MOST_BYTES = 16_000_000_000
"""The largest folder that is copied out of a container. The largest artifact has 2 GB."""
_MOST_TEXT_BYTES = 10_000_000
_LEAST_FREE_BYTES = 1_000_000_000
"""Free space on the engine's disk below which a container is stopped."""
_LONGEST_LINE_BYTES = 1 << 16
_LOOK_EVERY_S = 1.0
_CHUNK_BYTES = 1 << 20


class Engine:
    """A Docker engine. Every method raises EngineError if the engine does not answer."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Connect to the engine that the docker program would use, and ask it for its facts.

        That is the one of DOCKER_HOST, else of the context that DOCKER_CONTEXT or `docker context use` chose, else the
        local one.
        """
        self._environ = dict(environ)
        self._endpoint = chosen_endpoint(environ)
        url, tls = self._endpoint.url, self._endpoint.tls
        if url.startswith("ssh:") and not find_spec("paramiko"):
            hint = "pip install paramiko, or set DOCKER_HOST to a socket that ssh forwards (ssh -L)"
            raise EngineError(f"The engine at {url} needs the Python package paramiko", hint=hint)
        try:
            self._client = docker.DockerClient(base_url=url, tls=tls or False, timeout=_API_TIMEOUT_S)
            self._info: dict[str, Any] = self._client.info()
        except Exception as error:  # paramiko, which may be missing, has errors of its own
            raise engine_error("connecting", self._endpoint, error) from error

    @cached_property
    def _transfer(self) -> ImageTransfer:
        with self._translated("connecting"):
            return ImageTransfer(self._endpoint.url, self._endpoint.tls)

    @property
    def cpus(self) -> int:
        """How many processors the engine has."""
        return int(self._info["NCPU"])

    @property
    def memory_bytes(self) -> int:
        """How much memory the engine has."""
        return int(self._info["MemTotal"])

    @property
    def free_bytes(self) -> int | None:
        """The free space on its disk; None if the engine runs on another machine."""
        root = Path(self._info["DockerRootDir"])
        return shutil.disk_usage(root).free if self._endpoint.url.startswith("unix:") and root.exists() else None

    @property
    def version(self) -> str:
        """The engine's version, storage driver and operating system, as it reports them."""
        return f"{self._info['ServerVersion']} ({self._info['Driver']}, {self._info['OperatingSystem']})"

    def check(self) -> None:
        """Raise EngineError if the engine does not answer any more."""
        with self._translated("asking the Docker engine"):
            self._client.ping()

    def image_id(self, reference: str) -> str | None:
        """Return the image's digest, or None if the engine does not have it."""
        with self._translated(f"looking for the image {reference}"):
            try:
                return str(self._client.images.get(reference).id)
            except ImageNotFound:
                return None

    def image_labels(self, reference: str) -> dict[str, str]:
        """Return the labels of an image that the engine has."""
        with self._translated(f"reading the image {reference}"):
            return dict(self._client.images.get(reference).labels)

    def registry_has(self, name: str) -> bool:
        """Return whether a registry has the image NAME:TAG. Raises as `pull` does."""
        return self._transfer.has(name)

    def pull(self, name: str, reference: str) -> bool:
        """Download an image of a registry, by its tag or digest, and name it here; return whether there is one.

        Raises RegistryError if the registry is not reachable or refuses.
        """
        return self._transfer.pull(name, reference, _PLATFORM)

    def push(self, reference: str, name: str) -> str:
        """Upload an image to a registry as NAME:TAG and return its digest. Raises RegistryError if that fails."""
        return self._transfer.push(reference, name)

    def import_root(self, tar_path: Path, reference: str, labels: Mapping[str, str]) -> None:
        """Make an image from the tar of a root file system."""
        repository, _, image_tag = reference.rpartition(":")
        changes = [f"LABEL {key}={json.dumps(value)}" for key, value in labels.items()] + ['CMD ["bash"]']
        with self._translated(f"importing the image {reference}"):
            answer = self._client.api.import_image_from_file(
                str(tar_path), repository=repository, tag=image_tag, changes=changes
            )
        if '"error"' in str(answer):
            raise ImageError(f"The root file system for {reference} can't be imported", found=str(answer))

    def build_image(
        self,
        reference: str,
        context: bytes,
        args: Mapping[str, str],
        labels: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        """Build an image from the tar of a context with the engine's classic builder; its output goes to `on_line`.

        Raises ImageError with the engine's last message.
        """
        with self._translated(f"building the image {reference}"):
            answers = self._client.api.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                tag=reference,
                buildargs=dict(args),
                labels=dict(labels),
                rm=True,
                forcerm=True,
                decode=True,
            )
            for answer in answers:
                for line in answer.get("stream", "").splitlines():
                    on_line(line)
                if "error" in answer:
                    on_line(answer["error"])
                    raise ImageError(f"The image {reference} can't be made", found=answer["error"].strip())

    def image_text(self, reference: str, folder: str, labels: Iterable[tuple[str, str]] = ()) -> str:
        """Return the text of all files in a folder of an image, one after the other; empty without the folder.

        `labels` are those of a container that is made for this, and never started.
        """
        with self._translated(f"reading the image {reference}"):
            handle = self._client.containers.create(reference, ["true"], labels=dict(labels))
            try:
                with self.archive(handle, folder) as chunks:
                    content = b"".join(_at_most(chunks, folder, _MOST_TEXT_BYTES))
            except NotFound:
                return ""
            finally:
                handle.remove(force=True, v=True)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            files = [tar.extractfile(member) for member in tar if member.isfile()]
            return "".join(file.read().decode(errors="replace") for file in files if file)

    @contextmanager
    def container(self, run: Run) -> Iterator["Container"]:
        """Make a container with its inputs in place; it is removed at the end of the block, whatever happens."""
        options = container_options(run)
        # The engine copies nothing into a container whose root file system is read-only, so another one, which is never
        # started, gets the files: both have the same volumes.
        filled = options | {"read_only": False, "tmpfs": {}, "stdin_open": False, "tty": False}
        with self._made(run.image, ["true"], filled, run) as filler:
            with self._translated("copying files into the container"):
                filler.put_archive("/", inputs_tar(run))
            options |= {"mounts": [], "volumes_from": [filler.id]}
            with self._made(run.image, list(run.command), options, run) as handle:
                yield Container(self, handle, run)

    @contextmanager
    def _made(self, image: str, command: list[str], options: Mapping[str, Any], run: Run) -> Iterator[Any]:
        """Make a container that is removed at the end of the block, with its volumes that have no name."""
        with self._translated(f"making a container of {image}"):
            handle = self._created(image, command, {**options, "labels": dict(run.labels)})
        try:
            yield handle
        finally:
            with suppress(PibuildError), self._translated("removing the container"), suppress(NotFound):
                handle.remove(force=True, v=True)

    def _created(self, image: str, command: list[str], options: dict[str, Any]) -> Any:  # noqa: ANN401  docker's own
        """Make a container. If the engine numbers its processors differently, the container may use all of them."""
        try:
            return self._client.containers.create(image, command, **options)
        except APIError as error:
            if not options.get("cpuset_cpus") or "CPUs are not available" not in str(error):
                raise
            return self._client.containers.create(image, command, **(options | {"cpuset_cpus": None}))

    def prepare_cache(self, run: Run) -> None:
        """Fill a run's new cache from the one that it begins with; make a cache of another user the run's user's."""
        if self._prepared(run, filling(run)):
            return
        if not (self._prepared(run, taking_over(run)) and self._prepared(run, filling(run))):
            raise EngineError(f"The cache {run.cache} can't be used", found="it belongs to another user")

    def _prepared(self, run: Run, step: CacheStep) -> bool:
        """Run a step of the preparation; return False if it finds that the cache is another user's."""
        with self._made(run.image, *step, run) as handle, self._translated("preparing the cache"):
            handle.start()
            code = handle.wait()["StatusCode"]
            if code not in (0, OF_ANOTHER_USER):
                raise EngineError(f"The cache {run.cache} can't be used", found=handle.logs().decode(errors="replace"))
        return bool(code == 0)

    @contextmanager
    def archive(self, handle: Any, path: str) -> Iterator[Iterator[bytes]]:  # noqa: ANN401  the SDK has no types
        """Yield the tar of a path of a container in chunks. The reader may stop early.

        The SDK's own method can't stop early, and the engine locks a container until everything is read or the
        connection ends.
        """
        api: Any = self._client.api
        url = api._url("/containers/{0}/archive", handle.id)  # noqa: SLF001  the SDK has no other way to close it
        with api._get(url, params={"path": path}, stream=True) as answer:  # noqa: SLF001
            api._raise_for_status(answer)  # noqa: SLF001
            yield answer.iter_content(_CHUNK_BYTES)

    def keep(self, handle: Any, run: Run, reference: str) -> None:  # noqa: ANN401  the SDK has no types
        """Save an ended container and the contents of its volumes as an image, without the cache.

        The image that had this name before is removed, unless a container uses it.
        """
        before = self.image_id(reference)
        repository, _, image_tag = reference.rpartition(":")
        options = container_options(run) | {"read_only": False, "mounts": [], "tmpfs": {}}
        with self._made(run.image, list(run.command), options, run) as copy, self._translated("keeping the container"):
            for path in kept_paths(run):
                with suppress(NotFound), self.archive(handle, path) as chunks:
                    copy.put_archive(str(Path(path).parent), _at_most(chunks, path, _MOST_BYTES))
            copy.commit(repository=repository, tag=image_tag)
            if before and before != self.image_id(reference):
                with suppress(APIError):
                    self._client.images.remove(before)

    def remove_containers(self, store_id: str, is_dead: Callable[[str], bool]) -> int:
        """Remove a store's containers whose session is dead, with the volume that some share; return their number.

        If a container does not end, as on a busy machine, its removal is tried again after the others.
        """
        mark = f"{STORE_LABEL}={store_id}"
        with self._translated("looking for left containers"):
            containers = self._client.containers.list(all=True, filters={"label": mark}, ignore_removed=True)
            dead = [container for container in containers if is_dead(container.labels[SESSION_LABEL])]
            late = [container for container in dead if not _is_removed(container)]
            for container in late:
                with suppress(NotFound):
                    container.remove(force=True, v=True)
            for name in {name for container in dead for name in _shared_volumes(container)}:
                with suppress(APIError):  # it was removed already, or a container that did not end uses it
                    self._client.volumes.get(name).remove()
        return len(dead)

    def remove_volumes(self, prefix: str) -> int:
        """Remove the volumes whose name begins with the prefix."""
        with self._translated("removing volumes"):
            volumes = [volume for volume in self._client.volumes.list() if volume.name.startswith(prefix)]
            for volume in volumes:
                with suppress(NotFound):
                    volume.remove(force=True)
        return len(volumes)

    def images(self, prefix: str) -> list[str]:
        """Return the names of the images that begin with the prefix."""
        with self._translated("listing images"):
            # The SDK's own method sends a request for each image, and some images may have been removed meanwhile.
            listed: list[dict[str, Any]] = self._client.api.images()
            return sorted(name for image in listed for name in image["RepoTags"] or () if name.startswith(prefix))

    def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image if it has no other name."""
        with self._translated(f"removing the image {reference}"), suppress(ImageNotFound):
            self._client.images.remove(reference, force=True)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Translate the SDK's errors to EngineError."""
        try:
            yield
        except (DockerException, requests.RequestException) as error:
            raise engine_error(doing, self._endpoint, error) from error


class Container:
    """A container that is not started yet."""

    def __init__(self, engine: Engine, handle: Any, run: Run) -> None:  # noqa: ANN401  the SDK has no types
        """Keep the engine's handle; Engine.container calls this."""
        self._engine, self._handle, self._run = engine, handle, run

    def wait(self, on_line: Callable[[str], None]) -> Outcome:
        """Start it, pass each line of its output to `on_line`, and wait for its end or the deadline."""
        began_s, late = time.monotonic(), threading.Event()

        def stop_late() -> None:
            late.set()
            self._kill()

        alarm = threading.Timer(self._run.limits.deadline_s, stop_late)
        alarm.daemon = True
        with self._engine._translated("running the container"), self._disk_watched() as full:  # noqa: SLF001  one idea, one module
            try:
                self._handle.start()
                alarm.start()
                for line in _lines(self._handle.logs(stream=True, follow=True)):
                    on_line(line)
                    if late.is_set() or full.is_set():
                        break  # the engine may still have hours of output to send
                self._handle.wait()
            finally:
                alarm.cancel()
        return self._outcome(began_s, timed_out=late.is_set(), disk_full=full.is_set())

    def _kill(self) -> None:
        """End the container.

        Its CPU limit is removed first, because a thousand processes would take minutes to end under this limit.
        """
        for end in (partial(self._handle.update, cpu_quota=-1), self._handle.kill):
            with suppress(DockerException, requests.RequestException):
                end()

    @contextmanager
    def _disk_watched(self) -> Iterator[threading.Event]:
        """Stop the container when the engine's disk is nearly full, if that disk is this machine's."""
        full, over = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_EVERY_S):
                free_bytes = self._engine.free_bytes
                if free_bytes is not None and free_bytes < _LEAST_FREE_BYTES:
                    full.set()
                    self._kill()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield full
        finally:
            over.set()
            watching.join()

    def attach(self) -> Outcome:
        """Start it with this process's own stdin, stdout and stderr, and wait for its end or the deadline.

        This uses the docker program, which handles terminals, their sizes and signals.
        """
        began_s, late = time.monotonic(), False
        command = ["docker", "start", "--attach", "--interactive", self._handle.id]
        with self._disk_watched() as full:
            try:
                subprocess.run(command, env=self._engine._environ, check=False, timeout=self._run.limits.deadline_s)  # noqa: SLF001
            except subprocess.TimeoutExpired:
                late = True
            except FileNotFoundError as error:
                raise EngineError(
                    "The docker command line client is missing", hint="apt-get install docker.io, or docker-cli"
                ) from error
        return self._outcome(began_s, timed_out=late, disk_full=full.is_set())

    def _outcome(self, began_s: float, *, timed_out: bool, disk_full: bool) -> Outcome:
        """Return how the container ended. Raises EngineError if it still runs before its deadline."""
        wall_s = time.monotonic() - began_s
        with self._engine._translated("asking how the container ended"):  # noqa: SLF001
            self._handle.reload()
        state = self._handle.attrs["State"]
        if state["Running"] and not timed_out and not disk_full:
            raise EngineError("The connection to the container was lost", hint="run the same command again")
        return Outcome(
            exit_code=int(state["ExitCode"]),
            out_of_memory=bool(state["OOMKilled"]),
            timed_out=timed_out,
            wall_s=wall_s,
            disk_full=disk_full,
        )

    def end(self, grace_s: int) -> None:
        """Ask a container that runs to end, and kill it after a while."""
        with self._engine._translated("ending the container"), suppress(NotFound):  # noqa: SLF001
            self._handle.stop(timeout=grace_s)

    def has(self, path: str) -> bool:
        """Return whether the container has a file."""
        with self._engine._translated(f"looking for {path} in the container"):  # noqa: SLF001
            try:
                self._handle.get_archive(path)[0].close()
            except NotFound:
                return False
        return True

    def copy_out(self, path: str, tar_path: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        """Write a folder or file of the container as a tar; its first part is the path's last name.

        Raises BuildError if there is none, ResourceError if it is larger than `most_bytes`.
        """
        with self._engine._translated(f"copying {path} out of the container"), tar_path.open("wb") as tar:  # noqa: SLF001
            try:
                with self._engine.archive(self._handle, path) as chunks:
                    for chunk in _at_most(chunks, path, most_bytes):
                        tar.write(chunk)
            except NotFound as error:
                raise BuildError(f"The container has no {path}") from error

    def keep_as(self, reference: str) -> None:
        """Save its image with the contents of its folders as an image."""
        self._engine.keep(self._handle, self._run, reference)


def _shared_volumes(container: Any) -> list[str]:  # noqa: ANN401  the SDK has no types
    """Return the volume by which a container shares a socket with others of its session."""
    mounts = container.attrs.get("Mounts", [])
    return [mount["Name"] for mount in mounts if mount.get("Destination") == SHARED and mount.get("Name")]


def _is_removed(container: Any) -> bool:  # noqa: ANN401  the SDK has no types
    """Remove a container; return whether it is gone."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return True
    except APIError:
        return False
    return True


def _at_most(chunks: Iterator[bytes], path: str, most_bytes: int) -> Iterator[bytes]:
    """Yield chunks. Raises ResourceError if they exceed the limit: a sparse file can have any size."""
    done_bytes = 0
    for chunk in chunks:
        done_bytes += len(chunk)
        if done_bytes > most_bytes:
            raise ResourceError(f"{path} of the container is too large", expected=f"{size(most_bytes)} at most")
        yield chunk


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the lines of a container's output. Long lines are cut."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST_LINE_BYTES:
            whole, rest = [*whole, rest], b""
        yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
