"""The settings: what options, PIBUILD_* variables and pibuild.yaml may set, as typed values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path, user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, Tag

from pibuild.config.setting_values import (
    Amount,
    CheckedAddress,
    Count,
    PublicUrl,
    archive_url,
    clone_address,
    execution_server,
    lockable,
    registry_name,
    remote_address,
    short_for,
    trusted_key,
    webhook_url,
)
from pibuild.config.strict_yaml import UserPath
from pibuild.console import Color
from pibuild.errors import UsageError
from pibuild.model import kind_of
from pibuild.urls import NOWHERE, Webhook

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_TEXT_OR_NULL = (str, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where sources and artifacts are stored."""

    __pydantic_config__ = _STRICT
    folder: UserPath | None = None
    """Folder for sources, artifacts and logs; default: in the user's cache folder. `--store` and PIBUILD_STORE set
    only this key."""
    remote: Annotated[CheckedAddress, AfterValidator(remote_address)] | None = None
    """Address of the shared store: `http(s)://SERVER/PATH` of a server that takes GET and PUT, an rclone remote with a
    path (`name:path`), or a folder that all machines mount."""
    key: UserPath | None = None
    """PEM file of this machine's Ed25519 private key, which signs what it uploads; default: `machine.pem` in the user's
    data folder, which is made on first use."""
    trust: tuple[Annotated[str, AfterValidator(trusted_key)], ...] | None = None
    """The machines whose work is accepted from the shared store: public keys as `pibuild doctor` prints them
    (`ed25519:…`), or PEM files. The work of all others is built again. Default: the work of every machine is accepted,
    but never signed for publication."""
    allow_http: bool = False
    """Allow a shared store at an `http://` address of another machine, although others can read the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImages:
    """The registry through which machines share images."""

    __pydantic_config__ = _STRICT
    registry: Annotated[str, AfterValidator(registry_name)] | None = None
    """The registry in which images are looked for before they are made: `HOST/PATH` or `HOST:PORT/PATH`. The login is
    that of `docker login`. `--images` and PIBUILD_IMAGES set only this key."""
    push: bool = False
    """Also upload the images that this machine makes as their locks say, once the toolchain has passed its check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Some cells of the matrix: each version or ref of a recipe, for each target and each Python."""

    __pydantic_config__ = _STRICT
    recipe: str
    """The recipe, as `pibuild list` names it."""
    versions: tuple[str, ...] = ()
    """Releases of the recipe; default: the newest proven one for each Python."""
    refs: tuple[str, ...] = ()
    """Branches or tags of the source's repository. They are looked up each night and built like the release."""
    targets: tuple[str, ...] = ()
    """Targets; default: those on which a release is proven. With `versions`, all for which these can be built."""
    pythons: tuple[str, ...] = ()
    """Pythons; default: all that the releases support."""
    with_dependencies: bool = False
    """Also build and publish the wheel's dependencies. Each compiled dependency is a cell of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Cells that are not built: those that match all keys of one entry."""

    __pydantic_config__ = _STRICT
    recipe: str | None = None
    """The cell's recipe."""
    version: str | None = None
    """The cell's release."""
    ref: str | None = None
    """The cell's branch or tag."""
    target: str | None = None
    """The cell's target."""
    python: str | None = None
    """The cell's Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """A webhook or a command that is called when a cell begins to fail, and when it passes again."""

    __pydantic_config__ = _STRICT
    webhook: Annotated[Webhook, AfterValidator(webhook_url)] | None = None
    """A URL that takes JSON by POST."""
    command: tuple[str, ...] = ()
    """A program and its arguments; it reads the JSON from its standard input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """The matrix of every night."""

    __pydantic_config__ = _STRICT
    cells: tuple[Cells, ...]
    """The cells that are built."""
    exclude: tuple[Exclusion, ...] = ()
    """The cells that are left out."""
    state: str = "nightly"
    """Folder of the history, the nights' records and logs, junit.xml and summary.md."""
    notify: Notify | None = None
    """The webhook or command that is called when the result of a cell changes."""
    rebuild: Count = 0
    """Number of artifacts that each night builds again without cache and compares with the store's, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long wheels stay in the index. Releases and the newest wheel of each cell always stay."""

    __pydantic_config__ = _STRICT
    count: Count = 30
    """Number of wheels of one cell that stay in the index, and of sets that stay on the disk."""
    days: Count = 60
    """Age in days at which a wheel of a moving ref leaves the index."""
    warn_days: Count = 7
    """Number of days before a wheel leaves the index at which warnings begin."""
    grace_days: Count = 14
    """Number of days after a wheel has left the index for which `pibuild publish undelete` can bring it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RcloneDestination:
    """A store that rclone reaches, or a folder."""

    __pydantic_config__ = _STRICT
    rclone: CheckedAddress
    """`name:path` as rclone's configuration names it, or `/folder`."""

    @property
    def name(self) -> str:
        """Return the name that messages use."""
        return str(self.rclone)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwineDestination:
    """A package server. Credentials come from ~/.pypirc or from the TWINE_* variables."""

    __pydantic_config__ = _STRICT
    twine: CheckedAddress
    """URL to which wheels are uploaded, or the section of ~/.pypirc that has this URL."""
    index: CheckedAddress = NOWHERE
    """URL of the server's simple index; default: `simple/` below the URL for uploads."""

    @property
    def name(self) -> str:
        """Return the name that messages use."""
        return str(self.twine)


Destination = Annotated[
    Annotated[RcloneDestination, Tag("<rclone>")] | Annotated[TwineDestination, Tag("<twine>")],
    kind_of("rclone", "twine"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Where wheels are published, and how long they stay."""

    __pydantic_config__ = _STRICT
    site: Annotated[UserPath, AfterValidator(lockable)] = "site"
    """Folder of the published sets, which a web server can serve as it is."""
    title: str = "TensorFlow for the Raspberry Pi"
    """Title of the page."""
    url: PublicUrl = ""
    """URL of the site, which the page shows; default: the address from which a browser has loaded the page."""
    key: UserPath | None = None
    """PEM file of an Ed25519 private key, which signs every set; default: sets are not signed."""
    former_keys: tuple[UserPath, ...] = ()
    """PEM files of the public keys that signed the site before `key`. A set that is signed with none of these keys is
    not continued."""
    expiry_days: Annotated[int, Field(gt=0, le=3650)] = 7
    """Days after which `publish check --public-key` refuses a signed set that was not renewed. Each `nightly` and
    `publish` renews it."""
    to: tuple[Destination, ...] = ()
    """Destinations to which each set is copied."""
    retention: Policy = Policy()
    """How long wheels stay in the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteExecution:
    """The server whose workers run compile actions."""

    __pydantic_config__ = _STRICT
    server: Annotated[str, AfterValidator(execution_server)]
    """Address of a server of the Remote Execution API v2: `grpcs://HOST:PORT`, or `grpc://HOST:PORT` without
    encryption. `--remote-execution` and PIBUILD_REMOTE_EXECUTION set only this key."""
    jobs: Annotated[int, Field(gt=0, le=10_000)] = 16
    """Number of actions that are sent at the same time: about the number of the workers' processors."""
    certificate: UserPath | None = None
    """PEM file with this machine's certificate, its key, and the authority of the server; default: the authorities of
    the system, and no certificate of this machine."""
    required: bool = False
    """Fail if the server is not available, instead of compiling on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a person may set: by a flag, else a PIBUILD_* variable, else a key of pibuild.yaml."""

    __pydantic_config__ = _STRICT
    target: str | None = None
    """The kind of Pi: pi-one (1, Zero), pi-two (2 and later), pi-64 (64 bit), or an alias, such as pi-zero."""
    python: str | None = None
    """The Python on the Pi, such as "3.11"."""
    recipe: str | None = None
    """What to build; default: the newest product that is proven for the Python and target."""
    release: str | None = None
    """The recipe's release, such as "1.12.3"; default: the newest proven one for the Python and target."""
    source: UserPath | None = None
    """Folder of your own TensorFlow tree, which is built instead of a release."""
    extras: Annotated[tuple[str, ...], Field(alias="with")] = ()
    """What to make beside the wheel: `c-library`, `benchmark`."""
    no_api_wheel: bool = False
    """Make Python's API files by running TensorFlow on this machine; for this, TensorFlow is compiled twice."""
    legacy_name: bool = False
    """Also write copies of the wheel under the file names that wheels for the Pi had in 2017."""
    with_dependencies: bool = False
    """Also build all dependencies of the wheel, so that pip needs no network and no compiler on the Pi."""
    output: str = "wheelhouse"
    """Folder for wheels and records."""
    nightly: Nightly | None = None
    """The matrix of every night."""
    publish: Publish | None = None
    """Where wheels are published."""
    store: Annotated[
        Storage, BeforeValidator(short_for("folder", _TEXT_OR_NULL), json_schema_input_type=str | Storage | None)
    ] = Storage()
    """Folder for sources, artifacts and logs, or in pibuild.yaml a mapping: `{folder: DIR, remote: ADDRESS}`."""
    images: Annotated[
        SharedImages,
        BeforeValidator(short_for("registry", _TEXT_OR_NULL), json_schema_input_type=str | SharedImages | None),
    ] = SharedImages()
    """Registry of images that machines share, or in pibuild.yaml a mapping: `{registry: HOST/PATH, push: true}`."""
    mirrors: tuple[Annotated[CheckedAddress, AfterValidator(clone_address)], ...] = ()
    """Folders or servers of bare git clones, such as `/srv/git/{owner}+{name}/repo`."""
    raspbian: PublicUrl | None = None
    """URL of a Raspbian archive for `pibuild run --os`, such as `http://archive.raspbian.org/raspbian`."""
    snapshot: Annotated[PublicUrl, AfterValidator(archive_url)] | None = None
    """Archive with old versions of Debian's packages, for locked versions that the mirror lacks. `{archive}` in it
    becomes `debian` or `debian-security`, and `{time}` the time of the lock."""
    offline: bool = False
    """Use no network: fail at once and list what is missing."""
    jobs: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    """Number of compilers that run at the same time; default: as many as processors and memory allow."""
    serial: bool = False
    """Run one step at a time."""
    memory: Amount | None = None
    """Memory for one container in GB; default: most of the engine's memory."""
    deadline: Amount = 480.0
    """Minutes after which a container is stopped."""
    remote_execution: (
        Annotated[
            RemoteExecution, BeforeValidator(short_for("server"), json_schema_input_type=str | RemoteExecution | None)
        ]
        | None
    ) = None
    """Server whose workers run compile actions, or in pibuild.yaml a mapping: `{server: URL, jobs: N}`."""
    json: bool = False
    """Print results and errors as JSON."""
    quiet: bool = False
    """Print no progress, only results, warnings and errors."""
    verbose: bool = False
    """Also print the output of the programs that pibuild runs."""
    color: Color = "auto"
    """When to use colors. `auto` means on a terminal, unless NO_COLOR is set."""


def store_folder(settings: Settings) -> Path:
    """Return the folder of the store; UsageError if none is set and the user has no home folder."""
    if settings.store.folder:
        return Path(settings.store.folder).expanduser().absolute()
    try:
        Path.home()
        return user_cache_path("pibuild", appauthor=False)
    except RuntimeError as error:
        hint = "set --store DIR, PIBUILD_STORE or HOME"
        raise UsageError("This user has no home folder for the store", found=str(error), hint=hint) from error


def machine_key_path(settings: Settings) -> Path:
    """Return the file of this machine's private key; UsageError if none is set and the user has no home folder.

    It is not in the store: CI systems copy the store's folder as a cache, which others can read.
    """
    if settings.store.key:
        return Path(settings.store.key).expanduser().absolute()
    try:
        Path.home()
        return user_data_path("pibuild", appauthor=False) / "machine.pem"
    except RuntimeError as error:
        what, hint = "This user has no home folder for the key of this machine", "set `store: key:` or HOME"
        raise UsageError(what, found=str(error), hint=hint) from error
