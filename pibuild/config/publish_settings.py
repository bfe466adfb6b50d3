"""What pibuild.yaml says of publishing, as typed values.

How YAML becomes these is strict_yaml's knowledge, what is done with them site's, retention's and destinations'.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pibuild.addresses import without_password
from pibuild.config.strict_yaml import Place

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_Amount = Annotated[int, Field(ge=0, le=1_000_000)]
"""Also in days, a calendar has as many."""


def _beside(site: str) -> str:
    """Let only folders pass beside which the lock can stand."""
    if Path(site).expanduser().absolute().name:
        return site
    raise PydanticCustomError("site", "not a folder in another one, where its lock can stand beside it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How much is kept; the newest wheel of each cell and every release stay whatever is said here."""

    __pydantic_config__ = _STRICT
    count: _Amount = 30
    """Wheels of one cell, and sets."""
    days: _Amount = 60
    """A moving ref's wheel that is older leaves the index, too."""
    warn_days: _Amount = 7
    """So long before, it is said."""
    grace_days: _Amount = 14
    """So long after it left the index, a wheel can be undeleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RcloneDestination:
    """A store that rclone knows, or a folder."""

    __pydantic_config__ = _STRICT
    rclone: str
    """`name:path` as rclone's configuration names it, or `/folder`."""

    @property
    def name(self) -> str:
        """Give what messages call it."""
        return self.rclone.partition(",")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwineDestination:
    """A package server; credentials are those of ~/.pypirc or the TWINE_* variables."""

    __pydantic_config__ = _STRICT
    twine: str
    """URL that wheels are uploaded to, or the section of ~/.pypirc that has it."""
    index: str = ""
    """URL of its simple index; `simple/` below the other one where it is not said."""

    @property
    def name(self) -> str:
        """Give what messages call it."""
        return without_password(self.twine)


Destination = RcloneDestination | TwineDestination


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Where the wheels go, and how long they stay."""

    __pydantic_config__ = _STRICT
    site: Annotated[Place, AfterValidator(_beside)] = "site"
    """Folder in which every set is made, for a web server to serve as it is."""
    title: str = "TensorFlow for the Raspberry Pi"
    """Of the page."""
    url: str = ""
    """The site's own address, which the page then names; it finds it out by itself where left out and scripts run."""
    key: Place | None = None
    """File of an Ed25519 private key, PEM, that signs every set."""
    to: tuple[Destination, ...] = ()
    """Where each set is brought from the site."""
    retention: Policy = Policy()
