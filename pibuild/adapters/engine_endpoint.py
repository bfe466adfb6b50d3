"""The Docker engine that the docker program's settings select: a variable, a context, or the engine of this machine.

Also translates errors of that engine into messages.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import APIError, DockerException

from pibuild.adapters.http import connection_cause
from pibuild.errors import EngineError

_LOCAL = "unix:///var/run/docker.sock"
_TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of an engine, and the setting that selects it."""

    url: str
    setting: str
    """The setting that has the URL; empty for the engine of this machine."""
    hint: str
    tls: docker.tls.TLSConfig | None = None


def chosen_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """Return the engine that the docker program would use. Raises EngineError if its settings name none."""
    config_dir = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/"), ".docker"))
    config_path = config_dir / "config.json"
    if url := environ.get("DOCKER_HOST", ""):
        names = "DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
        hint, tls = f"correct {names}, or unset them to use the engine of this machine", None
        is_verified, cert_path = bool(environ.get("DOCKER_TLS_VERIFY")), environ.get("DOCKER_CERT_PATH")
        if is_verified or cert_path:
            tls = _tls(Path(cert_path or config_dir), _TLS_FILES, hint, is_verified=is_verified)
        return Endpoint(url=url, setting="DOCKER_HOST", tls=tls, hint=hint)
    setting, local_hint, name = "DOCKER_CONTEXT", "unset DOCKER_CONTEXT", environ.get("DOCKER_CONTEXT", "")
    if not name:
        setting, local_hint = str(config_path), "docker context use default"
        with suppress(OSError, ValueError, AttributeError):  # the docker program ignores a damaged file, too
            name = json.loads(config_path.read_bytes()).get("currentContext") or ""
    if name not in ("", "default"):
        hint = f"{local_hint} (for the engine of this machine); docker context ls lists the contexts"
        return _context_endpoint(config_dir, name, setting, hint)
    hint = "start it (systemctl start docker, or ci/pibuild as root), or set DOCKER_HOST to another engine"
    hint += f"; {config_path} selects no context" if config_path.exists() else ""
    return Endpoint(url=_LOCAL, setting="", hint=hint)


def _context_endpoint(config_dir: Path, name: str, setting: str, hint: str) -> Endpoint:
    """Return the engine of a context, which a variable or file, `setting`, selects.

    The SDK looks contexts up only if config.json exists, and uses the local engine for an unknown context. The layout
    of the folder is that of github.com/docker/cli, cli/context/store.
    """
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta_path, tls_dir = config_dir / "contexts/meta" / digest / "meta.json", config_dir / "contexts/tls" / digest
    try:
        endpoint = json.loads(meta_path.read_bytes())["Endpoints"]["docker"]
        url, is_verified = str(endpoint["Host"]), not endpoint.get("SkipTLSVerify")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"The Docker context {name!r} of {setting} does not exist or is damaged"
        raise EngineError(what, expected=f"a context in {meta_path}", hint=hint) from error
    names = [file.name for file in (tls_dir / "docker").glob("*.pem")]
    tls = _tls(tls_dir / "docker", names, hint, is_verified=is_verified) if names else None
    return Endpoint(url=url, setting=f"the context {name!r} of {setting}", tls=tls, hint=hint)


def _tls(folder: Path, names: Collection[str], hint: str, *, is_verified: bool) -> docker.tls.TLSConfig:
    """Return the TLS settings of the files in a folder. Raises EngineError if one is missing."""
    ca, cert, key = (str(folder / name) if name in names else "" for name in _TLS_FILES)
    try:
        return docker.tls.TLSConfig((cert, key) if cert or key else None, ca or None, verify=is_verified)
    except DockerException as error:
        what = f"A TLS file is missing in {folder}"
        raise EngineError(what, expected=", ".join(_TLS_FILES), hint=hint) from error


def engine_error(doing: str, endpoint: Endpoint, error: Exception) -> EngineError:
    """Return the error for a failed request."""
    url = f"{endpoint.url} ({endpoint.setting})" if endpoint.setting else endpoint.url
    what, expected, hint, found = f"no Docker engine answers at {url}", "", endpoint.hint, connection_cause(error)
    answer = error.__cause__ if isinstance(error.__cause__, APIError) else error
    if isinstance(answer, APIError):
        what, found = f"the engine at {url} refused", f"HTTP {answer.status_code}: {answer.explanation}"
    if found == "Permission denied":
        what = f"no permission to use the engine at {url}"
        hint = "join the group of the engine's socket (usermod -aG docker NAME, then log in again), or run as root"
    elif "no space left on device" in found.lower():
        what, hint = "the engine's disk is full", "docker system prune, or pibuild clean"
    elif doing == "connecting" and isinstance(error, DockerException | ValueError) and not error.__cause__:
        what, found = f"{url} is not the address of an engine", ""
        expected = "unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST"
    return EngineError(f"{doing}: {what}", expected=expected, found=found, hint=hint)
