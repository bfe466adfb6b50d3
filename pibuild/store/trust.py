"""The machines whose work is accepted from the shared store, by their public keys.

A key is named by its text, `ed25519:…`. A machine's own key is in no list: it always trusts its own work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pibuild.config.settings import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The machines that `store: trust:` lists."""

    listed: frozenset[str] | None = None
    """Texts of public keys; None if the setting is missing."""

    def strangers(self, machines: Iterable[str]) -> tuple[str, ...]:
        """Return the machines that are not listed. Their work is never signed for publication."""
        return tuple(sorted({*machines} - (self.listed or frozenset())))

    def takes(self, machines: Iterable[str]) -> bool:
        """Return whether this machine may use work in which these other machines had a part."""
        return self.listed is None or not self.strangers(machines)


ANYBODY = Trust()
"""Takes the work of every machine, and signs that of none."""


def trust_of(storage: Storage) -> Trust:
    """Return the trust that the settings define. Raises UsageError if a file that they name has no public key."""
    from pibuild.signing.key_files import KEY_PREFIX, load_public_key, public_text  # noqa: PLC0415  takes time to import

    if storage.trust is None:
        return ANYBODY
    texts = (
        entry if entry.startswith(KEY_PREFIX) else public_text(load_public_key(Path(entry).expanduser()))
        for entry in storage.trust
    )
    return Trust(listed=frozenset(texts))


def untrusted_remote(address: str) -> str:
    """Return the warning about a shared store from which the work of every machine is taken."""
    return (
        f"`store: trust:` is not set: work of every machine is taken from {address}, and wheels with such work are not "
        "signed for publication; list the keys of your machines there (`pibuild doctor` prints this machine's)"
    )
