"""Notices: JSON to a webhook, or to a command's standard input."""

import subprocess
from collections.abc import Mapping, Sequence

import requests

from pibuild.adapters.process import last_words
from pibuild.errors import PibuildError
from pibuild.urls import without_password

_TIMEOUT_S = 30.0


def post(url: str, content: str) -> None:
    """Send JSON to a webhook. Raises PibuildError if it does not accept it."""
    try:
        answer = requests.post(
            url, data=content.encode(), headers={"Content-Type": "application/json"}, timeout=_TIMEOUT_S
        )
        answer.raise_for_status()
    except requests.RequestException as error:
        why = f"{error.response.status_code} {error.response.reason}" if error.response is not None else str(error)
        raise PibuildError(f"the webhook {without_password(url)} did not accept the notice", found=why) from error


def call(command: Sequence[str], content: str, environ: Mapping[str, str]) -> None:
    """Pass JSON to a command. Raises PibuildError if it is missing, takes too long or fails."""
    try:
        ended = subprocess.run(
            command, env=environ, input=content, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PibuildError(f"{command[0]} can't be run", found=str(error)) from error
    if ended.returncode:
        found = last_words(ended.stderr or ended.stdout) or f"exit code {ended.returncode}"
        raise PibuildError(f"{command[0]} failed", found=found)
