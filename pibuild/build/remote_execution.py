"""Remote execution: compile actions of a build on other machines, by the Remote Execution API v2.

A build's container has no network. A second container, the relay, has the network and the certificate, and shares one
socket with it. The scripts in them are in pibuild/remote_execution; what they report goes into the record.
"""

import json
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pibuild.adapters.container_files import SHARED
from pibuild.build.container import container_run, run_to_end
from pibuild.build.container_outputs import check_text, single_file
from pibuild.build.context import BuildContext
from pibuild.build.image_registry import machines_of
from pibuild.build.remote_programs import PROGRAMS, certificate_files, container_files
from pibuild.config.settings import RemoteExecution
from pibuild.errors import BuildError, PibuildError, UsageError, printable
from pibuild.model import Artifact, Run
from pibuild.signing.key_files import refuse_if_open
from pibuild.store.local import Entry
from pibuild.store.shared_records import RecordError, RemoteFacts, validated
from pibuild.trees.tree import pack

REPORT = "/work/remote.json"
_SECRETS = "/secrets"
_SOCKET = f"{SHARED}/server"
_CLIENTS = ("recc", "trexe")
_WORKER_PROGRAMS = ("buildbox-casd", "buildbox-run-hosttools", "buildbox-worker", "casdownload", "casupload")
_RELAY_MEMORY_BYTES = 1_000_000_000
_READY_S = 60.0
_LONGEST_PROBLEM = 500
_GRACE_S = 2
_WORKER_GRACE_S = 320
"""A little more than action_worker.py gives its actions."""
PROBE_S = 30
"""Seconds in which one action of the image has to end before the server is used."""
STALL_S = 900
"""Seconds without any result while actions are waited for, after which the build goes on here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteServer:
    """A server that a build's container may use."""

    settings: RemoteExecution
    volume: str
    """The volume with the relay's socket."""
    inputs: tuple[tuple[str, Path], ...]
    env: tuple[tuple[str, str], ...]

    def applied(self, run: Run) -> Run:
        """Return a build's run with the server: its script runs within the session."""
        shell, option, command = run.command
        command = f"python3 {PROGRAMS}/remote_session.py {command}"
        inputs = (*run.inputs, *self.inputs)
        return replace(
            run, command=(shell, option, command), inputs=inputs, env=(*run.env, *self.env), shared=self.volume
        )


@contextmanager
def remote_of(
    artifact: Artifact, context: BuildContext, *, sources: Mapping[str, Entry]
) -> Iterator[RemoteServer | None]:
    """Yield the server for an artifact's build, with its relay running; None if it compiles on this machine.

    `sources` has the artifact's sources by their folders below src/.
    """
    settings = context.settings.remote_execution
    if settings is None or not artifact.recipe.remote or context.settings.offline:
        yield None
        return
    image = artifact.image.reference
    if not settings.required and (error := _stranger_error(image, context)):
        context.console.warn(f"remote execution: everything is compiled here: {error.line}")
        yield None
        return
    with context.store.staging() as staging, relay(settings, image, context) as volume:
        inputs = [(PROGRAMS, pack(staging / "programs.tar", container_files(_CLIENTS, context)))]
        if artifact.recipe.remote == "bazel":
            inputs += _bazel_inputs(sources["bazel"].path, staging)
        yield RemoteServer(settings=settings, volume=volume, inputs=tuple(inputs), env=_session_env(settings, image))


def _bazel_inputs(bazel: Path, staging: Path) -> list[tuple[str, Path]]:
    """Return a script that sends Bazel's actions to the server.

    It has the name of the real Bazel, which is in PROGRAMS.
    """
    with tarfile.open(bazel) as tar:
        (name,) = (info.name for info in tar if info.isfile() and info.name.startswith("bazel-"))
    shim = Path(f"{Path(__file__).parents[1]}/remote_execution/bazel")
    return [(f"{PROGRAMS}/bazel-real", bazel), ("/work/src/bazel", pack(staging / "shim.tar", {name: shim}))]


def _session_env(settings: RemoteExecution, image: str) -> tuple[tuple[str, str], ...]:
    return (
        ("PIBUILD_REMOTE_SOCKET", _SOCKET),
        ("PIBUILD_REMOTE_IMAGE", image),
        ("PIBUILD_REMOTE_JOBS", str(settings.jobs)),
        ("PIBUILD_REMOTE_REQUIRED", str(int(settings.required))),
        ("PIBUILD_REMOTE_PROBE_S", str(PROBE_S)),
        ("PIBUILD_REMOTE_STALL_S", str(STALL_S)),
    )


@contextmanager
def relay(settings: RemoteExecution, image: str, context: BuildContext) -> Iterator[str]:
    """Run the relay in a container of this image, and yield the name of the volume that has its socket.

    Raises BuildError if the relay does not start. Raises UsageError if a machine that is not trusted has made the
    image, or if every user of the machine may read or write the certificate's file, which has its key. The volume is
    removed afterwards.
    """
    if error := _stranger_error(image, context):
        raise error
    volume = f"{context.store.cache_prefix}socket-{context.store.session[:12]}-{threading.get_ident():x}"
    certificate = certificate_files(settings.certificate)
    words = ["python3", f"{PROGRAMS}/relay.py", _SOCKET, settings.server]
    with context.store.staging() as staging:
        inputs = [(PROGRAMS, pack(staging / "relay.tar", {"relay.py": _script("relay.py")}))]
        if certificate:
            end_s = certificate_end(certificate["certificate.pem"])
            refuse_if_open(certificate["certificate.pem"], "The certificate and key")
            inputs.append((_SECRETS, pack(staging / "secrets.tar", certificate)))
            words += [f"{_SECRETS}/certificate.pem", str(end_s)]
        run = container_run(context, image=image, command=words, env=(), inputs=inputs)
        limits = replace(run.limits, jobs=1, memory_bytes=min(_RELAY_MEMORY_BYTES, run.limits.memory_bytes))
        run = replace(run, limits=limits, shared=volume, has_network=True)
        try:
            with _in_background(run, context, name="the relay of remote execution", note=context.console.debug):
                yield volume
        finally:
            with suppress(PibuildError):
                context.engine.remove_volumes(volume)


def _stranger_error(image: str, context: BuildContext) -> UsageError | None:
    """Return the error of an image that a machine without trust has made: it would get network and certificate."""
    strangers = context.trust.strangers(machines_of(context.engine.image_labels(image)))
    if not strangers:
        return None
    return UsageError(
        f"The image {image} may not use remote execution",
        expected="an image that this machine, or one in `store: trust:`, has made",
        found=f"the work of {strangers[0]}",
        hint="add that machine to `store: trust:`; or make the image here: docker rmi, then build without `images:`",
    )


@contextmanager
def _in_background(
    run: Run, context: BuildContext, *, name: str, note: Callable[[str], None], grace_s: int = _GRACE_S
) -> Iterator[threading.Event]:
    """Run a container beside this one's work, from its first line to the end of the block; `note` gets its lines.

    Yields the event of its end.
    """
    is_ready, over, lines = threading.Event(), threading.Event(), list[str]()

    def take(line: str) -> None:
        lines.append(line)
        note(f"{name}: {line}")
        is_ready.set()

    with context.container(run) as container:

        def wait() -> None:
            try:
                container.wait(take)
            except PibuildError as error:
                lines.append(error.line)
            over.set()
            is_ready.set()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        try:
            if not is_ready.wait(_READY_S) or over.is_set():
                raise BuildError(f"{name} does not start", found="; ".join(lines[-3:]))
            yield over
        finally:
            with suppress(PibuildError):
                container.end(grace_s)
            thread.join(_READY_S)


def _script(name: str) -> Path:
    return Path(__file__).parents[1] / "remote_execution" / name


def certificate_end(path: Path) -> float:
    """Return when the first certificate of a PEM file expires, in seconds since 1970.

    Raises BuildError if it can't be read.
    """
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415  takes time to import

    try:
        return load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:
        found = error.strerror or "" if isinstance(error, OSError) else "it has no certificate as PEM"
        what = f"The certificate {path} can't be read"
        raise BuildError(what, found=found, hint="`remote_execution: certificate:`") from error


def report_facts(report_tar: Path, settings: RemoteExecution) -> dict[str, Any]:
    """Return what a build's record has of remote execution, from the report that its container left.

    Raises BuildError if the report is invalid: a recipe's script can write this file, too.
    """
    report = _report(report_tar)
    names = ("version", "image", "remote", "cached", "local", "worker_cpu_s", "bytes_in", "problem")
    facts: dict[str, Any] = {"server": settings.server} | {name: report.get(name) for name in names}
    try:
        return dict(validated(RemoteFacts, facts))
    except RecordError as error:
        raise BuildError("The build's report of remote execution is damaged", found=str(error)) from error


def _report(report_tar: Path) -> dict[str, Any]:
    """Return a report, with a problem that can be printed."""
    text = single_file(report_tar)
    check_text(REPORT, text)
    report: dict[str, Any] = json.loads(text)
    problem = report.get("problem")
    return report | ({"problem": printable(problem)[:_LONGEST_PROBLEM]} if isinstance(problem, str) else {})


def probe(settings: RemoteExecution, image: str, context: BuildContext) -> dict[str, Any]:
    """Ask a server what it speaks and let a worker of this image run one action; return the report.

    Its `problem` is empty if all of that worked. Raises BuildError if the containers can't be run.
    """
    with context.store.staging() as staging, relay(settings, image, context) as volume:
        script = f"python3 {PROGRAMS}/remote_session.py --probe"
        run = container_run(
            context,
            image=image,
            command=("bash", "-c", f"{script}; code=$?; times > /work/cpu; exit $code"),
            env=_session_env(settings, image),
            inputs=((PROGRAMS, pack(staging / "programs.tar", container_files(_CLIENTS, context))),),
        )
        with context.console.step(f"probing {settings.server}") as step:
            run_to_end(
                replace(run, shared=volume),
                context,
                step=step,
                log_name="remote-probe",
                slug="",
                failure=f"{settings.server} could not be probed",
                outputs={REPORT: staging / "report.tar"},
            )
        return _report(staging / "report.tar")


@contextmanager
def worker(settings: RemoteExecution, image: str, context: BuildContext, *, name: str) -> Iterator[threading.Event]:
    """Run a worker of this image for a server until the end of the block; its running actions may then end.

    Yields the event that is set if the worker ends before.
    """
    with context.store.staging() as staging, relay(settings, image, context) as volume:
        run = container_run(
            context,
            image=image,
            command=("python3", f"{PROGRAMS}/action_worker.py"),
            env=(*_session_env(settings, image), ("PIBUILD_REMOTE_NAME", name)),
            inputs=((PROGRAMS, pack(staging / "programs.tar", container_files(_WORKER_PROGRAMS, context))),),
        )
        limits = replace(run.limits, jobs=settings.jobs, deadline_s=3e8)
        run = replace(run, limits=limits, shared=volume)
        note = context.console.note
        with _in_background(run, context, name=name, note=note, grace_s=_WORKER_GRACE_S) as over:
            yield over
