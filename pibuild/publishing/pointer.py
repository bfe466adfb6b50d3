"""current.json: the name of the current set, its times, and the publisher's signature.

The envelope (DSSE) has this JSON as payload; without a signing key, the file is this JSON itself:

    set            id of the current set
    number         grows with every current.json of a site, so that a reader notices an older one
    made           when it was written; `expires`: until when it holds, empty if it is not signed
    sums_sha256    of the set's SHA256SUMS, which has the sums of all other files
    top            sha256 of each file in the site's top folder, by name

next.json is the coming current.json. It exists while a publication replaces files one after another.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, StringConstraints, TypeAdapter

from pibuild.files import json_text
from pibuild.signing.envelope import Envelope, EnvelopeError, read_envelope, sealed
from pibuild.times import compact_utc, iso_z

POINTER, NEXT = "current.json", "next.json"
PAYLOAD_TYPE = "application/vnd.pibuild.current+json"
CLOCKS_DIFFER = timedelta(minutes=10)
"""The accepted difference between the clocks of publisher and reader."""
_Time = Annotated[str, StringConstraints(pattern=r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?$")]
_TopFile = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]*\.(html|json)$")]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """The content of current.json. A pibuild without signed pointers wrote the set alone."""

    set: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]+$")]
    number: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    made: _Time = ""
    expires: _Time = ""
    sums_sha256: _Sha256 = ""
    top: Mapping[_TopFile, _Sha256] = field(default_factory=dict)

    def clock_faults(self, now: datetime) -> Iterable[str]:
        """Yield a sentence if it is expired, or made later than this machine's clock says."""
        clock = f"the clock of this machine says {iso_z(now)}"
        if self.made and datetime.fromisoformat(self.made) > now + CLOCKS_DIFFER:
            yield f"was made at {self.made}, and {clock}: this clock is behind, or the publisher's is ahead"
        if self.expires and datetime.fromisoformat(self.expires) < now:
            yield (
                f"expired at {self.expires}, and {clock}: the publisher no longer renews it, somebody serves an old "
                "copy, or this clock is ahead"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PointerFile:
    """A current.json as it was read; its signature is not verified."""

    content: bytes
    pointer: Pointer
    envelope: Envelope | None
    """None if it is not signed."""

    def is_signed_by(self, keys: Iterable[Ed25519PublicKey]) -> bool:
        """Return whether one of these keys signed it."""
        return self.envelope is not None and bool(self.envelope.signers(keys))


def read_pointer(content: bytes) -> PointerFile:
    """Return the pointer of a current.json. Raises ValueError if the content is invalid."""
    envelope = None
    if _is_envelope(content):
        envelope = read_envelope(content)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise EnvelopeError(f"it is an envelope of {envelope.payload_type[:80]!r}, not of {PAYLOAD_TYPE}")
    pointer = TypeAdapter(Pointer).validate_json(envelope.payload if envelope else content)
    for time in filter(None, (pointer.made, pointer.expires)):
        datetime.fromisoformat(time)
    if envelope and not all((pointer.number, pointer.made, pointer.expires, pointer.sums_sha256, pointer.top)):
        raise ValueError("it lacks number, made, expires, sums_sha256 or top")
    return PointerFile(content=content, pointer=pointer, envelope=envelope)


def pointed_set(content: bytes) -> str:
    """Return the id of the set that a current.json names. Raises ValueError if the content is invalid."""
    return read_pointer(content).pointer.set


def write_pointer(pointer: Pointer, key: Ed25519PrivateKey | None) -> bytes:
    """Return the content of a current.json, signed if there is a key."""
    payload = asdict(pointer)
    if key is None:
        return (json.dumps(payload) + "\n").encode()
    return json_text(sealed(json_text(payload).encode(), PAYLOAD_TYPE, key)).encode()


def next_number(before: int, now: datetime) -> int:
    """Return the number that follows another one: the time as YYYYMMDDhhmmss, unless the one before is later.

    So numbers also grow if a site, and with it the last number, was lost.
    """
    return max(before + 1, int(re.sub(r"\D", "", compact_utc(now))))


def _is_envelope(content: bytes) -> bool:
    try:
        facts = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return isinstance(facts, dict) and "payloadType" in facts
