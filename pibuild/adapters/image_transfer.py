"""Transfers of images between a Docker engine and a registry, by the SDK.

Knows the answers of the engine and of registries. The login is Docker's own: `docker login` and credential helpers,
which the SDK reads as the docker program does. Transfers use a client of their own, which does not wait long for a
registry that says nothing.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from pibuild.errors import ImageError, RegistryError, printable
from pibuild.urls import redacted

_SILENCE_S = 60
"""How long a transfer may make no progress."""
_ABSENT = re.compile(r"manifest( for \S+)? (not found|unknown)|name unknown|not known to registry", re.IGNORECASE)
_DENIED = re.compile(r"denied|unauthorized|authentication required|no basic auth|forbidden", re.IGNORECASE)
_FAILED = re.compile(r"\b5\d\d (?:Internal Server Error|Insufficient Storage)|no space left", re.IGNORECASE)
_LONGEST_ANSWER = 300


class ImageTransfer:
    """Uploads and downloads images for one engine."""

    def __init__(self, url: str, tls: Any) -> None:  # noqa: ANN401  the SDK has no types
        """Make a client of the engine at a URL."""
        self._client = docker.DockerClient(base_url=url, tls=tls or False, timeout=_SILENCE_S)

    def has(self, name: str) -> bool:
        """Return whether the registry has the image NAME:TAG, which the engine asks it. Raises as `pull` does."""
        with _translated(f"asking for {name}"):
            try:
                api: Any = self._client.api
                api.inspect_distribution(name)
            except APIError as error:
                answer = str(error.explanation or error)
                if _ABSENT.search(answer) and not _DENIED.search(answer):
                    return False
                raise
        return True

    def pull(self, name: str, reference: str, platform: str) -> bool:
        """Download the image NAME:TAG or NAME@DIGEST, and name it `reference` only; return whether there is one.

        Raises RegistryError if the registry does not answer or refuses, ImageError for an image that runs commands
        where others stand on it.
        """
        repository, _, image_tag = name.partition("@") if "@" in name else name.rpartition(":")
        with _translated(f"pulling {name}"):
            try:
                answers = self._client.api.pull(repository, tag=image_tag, stream=True, decode=True, platform=platform)
                _read(answers, name)
                image = self._client.images.get(name)
            except _AbsentError:
                return False
            except NotFound as error:  # some registries also answer this if the login may not see the image
                if _DENIED.search(str(error)):
                    raise
                return False
            triggers = image.attrs["Config"].get("OnBuild")
            if not triggers:
                image.tag(reference)
            self._client.images.remove(name)
        if triggers:
            raise ImageError(f"{name} has ONBUILD instructions", found=printable(str(triggers))[:_LONGEST_ANSWER])
        return True

    def push(self, reference: str, name: str) -> str:
        """Upload an image as NAME:TAG, and return the digest under which the registry has it: `sha256:…`.

        Raises RegistryError if the registry does not answer or refuses.
        """
        repository, _, image_tag = name.rpartition(":")
        with _translated(f"pushing {name}"):
            self._client.images.get(reference).tag(repository, image_tag)
            try:
                answers = self._client.api.push(repository, tag=image_tag, stream=True, decode=True)
                digests = [answer["aux"].get("Digest", "") for answer in _read(answers, name) if "aux" in answer]
            finally:
                self._client.images.remove(name)
        if not digests or not re.fullmatch(r"sha256:[0-9a-f]{64}", digests[-1]):
            raise RegistryError(f"pushing {name}: the engine did not say its digest")
        return str(digests[-1])


class _AbsentError(Exception):
    """The registry has no such image."""


def _read(answers: Iterator[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return what the engine reports of a transfer. Raises RegistryError, or _AbsentError, for a failed one."""
    reports = []
    for answer in answers:
        if failure := answer.get("error"):
            if _ABSENT.search(failure) and not _DENIED.search(failure):
                raise _AbsentError
            raise _registry_error(f"transferring {name}", failure)
        reports.append(answer)
    return reports


def _registry_error(doing: str, failure: str) -> RegistryError:
    text = printable(redacted(" ".join(failure.split())))[:_LONGEST_ANSWER]
    hint = "look at the registry's log, and check whether its disk is full" if _FAILED.search(text) else ""
    error = RegistryError(doing, found=text, hint=hint)
    error.is_denied = bool(_DENIED.search(failure))
    return error


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Translate the SDK's errors to RegistryError."""
    try:
        yield
    except requests.Timeout as error:
        raise RegistryError(doing, found=f"no progress for {_SILENCE_S} s") from error
    except APIError as error:
        raise _registry_error(doing, str(error.explanation or error)) from error
    except (DockerException, requests.RequestException) as error:
        raise _registry_error(doing, str(error)) from error
