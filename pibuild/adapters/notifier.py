"""Notices: JSON to a webhook, or to a command's standard input."""

from collections.abc import Mapping, Sequence

import requests

from pibuild.adapters.http import connection_cause
from pibuild.adapters.process import run
from pibuild.errors import PibuildError
from pibuild.urls import Webhook

_TIMEOUT_S = 30.0


def post(webhook: Webhook, content: str) -> None:
    """Send JSON to a webhook. Raises PibuildError if it does not accept it."""
    try:
        answer = requests.post(
            webhook.reveal(), data=content.encode(), headers={"Content-Type": "application/json"}, timeout=_TIMEOUT_S
        )
        answer.raise_for_status()
    except requests.RequestException as error:
        refusal = error.response
        why = connection_cause(error) if refusal is None else f"{refusal.status_code} {refusal.reason}"
        raise PibuildError(f"the webhook {webhook} did not accept the notice", found=webhook.censored(why)) from error


def call(command: Sequence[str], content: str, environ: Mapping[str, str]) -> None:
    """Pass JSON to a command. Raises PibuildError if it is missing, takes too long or fails."""
    try:
        ended = run(command, environ, hint="check `nightly: notify:`", deadline_s=_TIMEOUT_S, stdin=content)
    except OSError as error:
        raise PibuildError(f"{command[0]} can't be run", found=str(error)) from error
    if ended.exit_code:
        raise PibuildError(f"{command[0]} failed", found=ended.last_words)
