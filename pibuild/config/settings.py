"""Settings: what flags, PIBUILD_* variables and pibuild.yaml may set, as typed values."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from platformdirs import user_cache_path, user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, Tag, TypeAdapter
from pydantic_core import PydanticCustomError

from pibuild.config.strict_yaml import UserPath, checked, homed, invalid, read_yaml, typed
from pibuild.config.validation import file_levels
from pibuild.console import Color
from pibuild.errors import UsageError, closest
from pibuild.model import kind_of
from pibuild.urls import NOWHERE, Address, Webhook

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_Amount = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
"""An amount that is finite in bytes and in seconds."""
_Count = Annotated[int, Field(ge=0, le=1_000_000)]
"""A number of wheels, or of days that a calendar has."""


def _address(address: Address) -> Address:
    """Accept only addresses whose secret parts are certain."""
    if address.is_ambiguous:
        raise PydanticCustomError("address", "an `@` behind the server's name: write %40 in a path, user or password")
    if re.match(r"https?:(?!//[^/\s])", address.reveal(), re.IGNORECASE):
        raise PydanticCustomError("address", "expected http(s)://SERVER/PATH")
    return address


def _remote(address: Address) -> Address:
    """Accept only unambiguous addresses: `folder/x` could be a folder of this machine or a remote's path."""
    if re.fullmatch(r"https?://[^/\s]+\S*|/.*|(?!https?:)[^-/\s][^/]*:.*", address.reveal()):
        return address
    text = address.reveal()
    found = f", found {text!r}" if re.fullmatch(r"[\w./~: -]{0,30}", text) else ""  # else it may have a secret
    raise PydanticCustomError("address", f"expected http(s)://SERVER/PATH, rclone's REMOTE:PATH or /FOLDER{found}")


def _clone(address: Address) -> Address:
    """Accept only addresses that git can have without a secret in its command line."""
    if address.has_query:
        raise PydanticCustomError("address", "git shows a query to all users: give the token as https://USER:TOKEN@…")
    return address


def _webhook(webhook: Webhook) -> Webhook:
    """Accept only URLs that can be posted to."""
    if re.fullmatch(r"https?://[^/\s]+\S*", webhook.reveal()):
        return webhook
    raise PydanticCustomError("address", "expected http(s)://SERVER/PATH")


def _public(url: str) -> str:
    """Accept only URLs without secrets: pages, or images, have them."""
    address = _address(Address(url))
    if address.has_secret:
        raise PydanticCustomError("address", "everybody can read this URL, so it can't have a password or a token")
    return url


def _archive(url: str) -> str:
    """Accept only what can be an address in a list of apt's sources."""
    if re.fullmatch(r"(https?://|file:/)[^\s\[\]\\]+", url):
        return url
    raise PydanticCustomError("address", "expected http(s)://SERVER/PATH or file:/PATH")


_Address = Annotated[Address, AfterValidator(_address)]
_PublicUrl = Annotated[str, AfterValidator(_public)]


_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_REGISTRY = rf"(?:[a-z0-9.-]+\.[a-z0-9-]+|localhost|[a-z0-9.-]+(?=:))(?::\d{{1,5}})?(?:/{_PART})+"


def _images(written: Any) -> Any:  # noqa: ANN401  whatever the YAML holds
    """Return the mapping that a text, or null, is short for."""
    return {"registry": written} if written is None or isinstance(written, str) else written


def _storage(written: Any) -> Any:  # noqa: ANN401  whatever the YAML holds
    """Return the mapping that a text, or null, is short for."""
    return {"folder": written} if written is None or isinstance(written, str) else written


def _lockable(site: str) -> str:
    """Accept only folders that have a parent folder: the lock is a file in it."""
    if Path(site).expanduser().absolute().name:
        return site
    raise PydanticCustomError("site", "expected a folder within another folder, which has the site's lock file")


def _trusted(text: str) -> str:
    """Accept a public key as signing.key_files writes it, or the path of a file that has one."""
    if text.startswith("ed25519:") and not re.fullmatch(r"ed25519:[0-9a-f]{64}", text):
        raise PydanticCustomError("public_key", "expected a public key, ed25519: and 64 hex digits, or a PEM file")
    return homed(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where sources and artifacts are stored."""

    __pydantic_config__ = _STRICT
    folder: UserPath | None = None
    """Folder for sources, artifacts and logs; default: in the user's cache folder. `--store` and PIBUILD_STORE set
    only this key."""
    remote: Annotated[_Address, AfterValidator(_remote)] | None = None
    """Address of the shared store: `http(s)://SERVER/PATH` of a server that takes GET and PUT, an rclone remote with a
    path (`name:path`), or a folder that all machines mount."""
    key: UserPath | None = None
    """PEM file of this machine's Ed25519 private key, which signs what it uploads; default: `machine.pem` in the user's
    data folder, which is made on first use."""
    trust: tuple[Annotated[str, AfterValidator(_trusted)], ...] | None = None
    """The machines whose work is taken from the shared store: public keys as `pibuild doctor` prints them
    (`ed25519:…`), or PEM files. The work of all others is built again. Default: work of every machine is taken, but
    never signed for publication."""
    allow_http: bool = False
    """Allow a shared store at an `http://` address of another machine, where everybody on the way sees what is
    transferred."""


def _registry(text: str) -> str:
    """Accept only what can begin the name of an image in a registry: Docker takes `name/path` for one of its hub's."""
    if re.fullmatch(_REGISTRY, text):
        return text
    raise PydanticCustomError("address", "expected HOST/PATH, such as registry.example.org/pibuild")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImages:
    """The registry through which machines share images."""

    __pydantic_config__ = _STRICT
    registry: Annotated[str, AfterValidator(_registry)] | None = None
    """Where images are looked for before they are made: `HOST/PATH` or `HOST:PORT/PATH`. The login is that of `docker
    login`. `--images` and PIBUILD_IMAGES set only this key."""
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
    """Targets; default: all."""
    pythons: tuple[str, ...] = ()
    """Pythons; default: all that the release supports."""
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
    """What is called when a cell fails that did not fail before, and when it passes again: a webhook or a command."""

    __pydantic_config__ = _STRICT
    webhook: Annotated[Webhook, AfterValidator(_webhook)] | None = None
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
    """What is called when the result of a cell changes."""
    rebuild: _Count = 0
    """Number of artifacts that each night builds again without cache and compares with the store's, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long wheels stay in the index. Releases and the newest wheel of each cell always stay."""

    __pydantic_config__ = _STRICT
    count: _Count = 30
    """Number of wheels of one cell that stay in the index, and of sets that stay on the disk."""
    days: _Count = 60
    """Age in days at which a wheel of a moving ref leaves the index."""
    warn_days: _Count = 7
    """Number of days before a wheel leaves the index at which warnings begin."""
    grace_days: _Count = 14
    """Number of days after a wheel has left the index for which `pibuild publish undelete` can bring it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RcloneDestination:
    """A store that rclone reaches, or a folder."""

    __pydantic_config__ = _STRICT
    rclone: _Address
    """`name:path` as rclone's configuration names it, or `/folder`."""

    @property
    def name(self) -> str:
        """Return the name that messages use."""
        return str(self.rclone)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwineDestination:
    """A package server. Credentials come from ~/.pypirc or from the TWINE_* variables."""

    __pydantic_config__ = _STRICT
    twine: _Address
    """URL to which wheels are uploaded, or the section of ~/.pypirc that has this URL."""
    index: _Address = NOWHERE
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
    site: Annotated[UserPath, AfterValidator(_lockable)] = "site"
    """Folder of the published sets, which a web server can serve as it is."""
    title: str = "TensorFlow for the Raspberry Pi"
    """Title of the page."""
    url: _PublicUrl = ""
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


def _execution_server(url: str) -> str:
    """Accept only what has a host, a port and no secret: the certificate is the secret."""
    if re.fullmatch(r"grpcs?://[^/@\s:?#]+:[0-9]{1,5}/?", url):
        return url.rstrip("/")
    raise PydanticCustomError("address", "expected grpcs://HOST:PORT, or grpc://HOST:PORT without encryption")


def _remote_execution(written: Any) -> Any:  # noqa: ANN401  whatever the YAML holds
    """Return the mapping that a text is short for."""
    return {"server": written} if isinstance(written, str) else written


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteExecution:
    """The server whose workers run compile actions."""

    __pydantic_config__ = _STRICT
    server: Annotated[str, AfterValidator(_execution_server)]
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
    """The kind of Pi: pi-one (1, Zero), pi-two (2 and later), or an alias, such as pi-zero."""
    python: str | None = None
    """The Python on the Pi, such as "3.11"."""
    recipe: str | None = None
    """What to build; default: the newest product that is proven for the Python."""
    release: str | None = None
    """The recipe's release, such as "1.12.3"; default: the newest one that is proven for the Python."""
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
    store: Annotated[Storage, BeforeValidator(_storage, json_schema_input_type=str | Storage | None)] = Storage()
    """Folder for sources, artifacts and logs, or in pibuild.yaml a mapping: `{folder: DIR, remote: ADDRESS}`."""
    images: Annotated[SharedImages, BeforeValidator(_images, json_schema_input_type=str | SharedImages | None)] = (
        SharedImages()
    )
    """Registry of images that machines share, or in pibuild.yaml a mapping: `{registry: HOST/PATH, push: true}`."""
    mirrors: tuple[Annotated[_Address, AfterValidator(_clone)], ...] = ()
    """Folders or servers of bare git clones, such as `/srv/git/{owner}+{name}/repo`."""
    raspbian: _PublicUrl | None = None
    """URL of a Raspbian archive for `pibuild run --os`, such as `http://archive.raspbian.org/raspbian`."""
    snapshot: Annotated[_PublicUrl, AfterValidator(_archive)] | None = None
    """Archive with old versions of Debian's packages, for locked versions that the mirror lacks. `{archive}` in it
    becomes `debian` or `debian-security`, and `{time}` the time of the lock."""
    offline: bool = False
    """Use no network: fail at once and list what is missing."""
    jobs: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    """Number of compilers that run at the same time; default: as many as processors and memory allow."""
    serial: bool = False
    """Do one step after the other, not several at once."""
    memory: _Amount | None = None
    """Memory for one container in GB; default: most of the engine's memory."""
    deadline: _Amount = 480.0
    """Minutes after which a container is stopped."""
    remote_execution: (
        Annotated[
            RemoteExecution, BeforeValidator(_remote_execution, json_schema_input_type=str | RemoteExecution | None)
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


_IN_FILE_ONLY = ("nightly", "publish")
"""Keys of pibuild.yaml that are neither flags nor variables."""
_EXCLUSIVE = ("quiet", "verbose")
"""Settings that a stronger place sets to false if it sets one of them to true."""
_SHORT: Mapping[str, str] = {"store": "folder", "images": "registry", "remote_execution": "server"}
"""Settings that are mappings, with the key that an option or a variable sets."""
_OLD_NAMES: Mapping[str, str] = {"version": "release"}
_ITEM = {"mirrors": r"\S+", "with": r"[^\s,]+"}
"""The pattern of an item in a variable that holds several."""
_LEVELS = {**(levels := file_levels(Settings)), (): {**levels[()], **_OLD_NAMES}}
"""The mappings of pibuild.yaml."""


def setting_names() -> list[str]:
    """Return the names of the settings that are flags, variables and keys: --jobs, PIBUILD_JOBS and `jobs:`."""
    names = ["with" if field.name == "extras" else field.name for field in fields(Settings)]
    return [name for name in names if name not in _IN_FILE_ONLY]


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, warn: Callable[[str], None] = lambda _text: None
) -> Settings:
    """Merge flags (None where not given), PIBUILD_* variables and pibuild.yaml; a flag is the strongest.

    The file is the flag's or `$PIBUILD_CONFIG`, else `pibuild.yaml` in the current folder. `warn` is called for a name
    that the next release will not take. Raises UsageError with the names of unknown or invalid variables and keys.
    """
    from_file = _from_file(flags.get("config"), environ.get("PIBUILD_CONFIG"), cwd, warn)
    from_environ = _from_environ(environ, warn)
    from_flags = {name: flags[name] for name in setting_names() if flags.get(name) is not None}
    if faults := _faults(from_flags, _option):
        raise UsageError("Invalid options", details=faults)
    merged = dict(from_file)
    for values in (from_environ, from_flags):
        if any(checked(bool, values.get(name))[0] for name in _EXCLUSIVE):
            merged |= dict.fromkeys(_EXCLUSIVE, False)
        merged |= values
    for name, short in _SHORT.items():
        if isinstance(from_file.get(name), dict) and isinstance(merged[name], str):
            merged[name] = from_file[name] | {short: merged[name]}
    settings = typed(Settings, merged, "The settings")
    _refuse_plain_http(settings.store)
    if settings.quiet and settings.verbose:
        raise UsageError("quiet and verbose are both true in one place", hint="remove one of the two")
    return settings


def execution_settings(settings: Settings, *, server: str | None, certificate: str | None) -> RemoteExecution:
    """Return the settings of remote execution, with these in place of its own. Raises UsageError without a server."""
    own = settings.remote_execution
    written = {"server": server or (own.server if own else None), "certificate": own.certificate if own else None}
    written |= {"certificate": certificate} if certificate else {}
    if written["server"] is None:
        raise UsageError("No server of remote execution is set", hint="--server grpcs://HOST:PORT")
    return typed(RemoteExecution, written, "--server and --certificate")


def _faults(values: Any, spelling: Callable[[str], str] = str) -> list[str]:  # noqa: ANN401  whatever the YAML holds
    """Return what is wrong with settings that come from one place, which spells their names in its own way."""
    faults = checked(Settings, values, levels=_LEVELS)[1]
    return [re.sub(r"^\w+", lambda name: spelling(name[0]), fault) for fault in faults]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _variable(name: str) -> str:
    return f"PIBUILD_{name.upper()}"


def _from_file(flag: str | None, variable: str | None, cwd: Path, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the valid content of the file that is named, or of pibuild.yaml if it exists."""
    path = Path(flag or variable or cwd / "pibuild.yaml")
    try:
        written = read_yaml(path)
    except UsageError as error:
        if flag or variable or not isinstance(error.__cause__, FileNotFoundError):
            raise
        return {}
    content: dict[str, Any] = {} if written is None else _renamed(written, str, f"{path}: ", warn)
    if faults := _faults(content):
        raise invalid(path, faults)
    return content


def _from_environ(environ: Mapping[str, str], warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the settings that valid variables set."""
    variables = {name: text for name, text in environ.items() if name.startswith("PIBUILD_")}
    variables = _renamed(variables, _variable, "", warn)
    variables.pop("PIBUILD_CONFIG", None)
    names = {_variable(name): name for name in setting_names()}
    unknown = [f"{name}: {_unknown_variable(name)}" for name in sorted(variables.keys() - names)]
    values = {
        names[variable]: tuple(re.findall(_ITEM[names[variable]], text)) if names[variable] in _ITEM else text
        for variable, text in variables.items()
        if variable in names
    }
    if faults := [*unknown, *_faults(values, _variable)]:
        raise UsageError("Invalid environment variables", details=faults)
    return values


def _unknown_variable(variable: str) -> str:
    """Return what is wrong with a variable that no setting has."""
    name = variable.removeprefix("PIBUILD_").lower()
    for key in (*_IN_FILE_ONLY, *_SHORT):
        if f"{name}_".startswith(f"{key}_"):
            return f"there is no such variable; pibuild.yaml can set it, under {key!r}"
    names = {name: name for name in (*setting_names(), "config")} | {**_OLD_NAMES, "extras": "with"}
    if meant := closest(name, names):
        return f"there is no such variable; did you mean {_variable(names[meant])!r}?"
    return f"there is no such variable; one of: {', '.join(sorted(map(_variable, {*names.values()})))}"


def _renamed(values: Any, spelling: Callable[[str], str], prefix: str, warn: Callable[[str], None]) -> Any:  # noqa: ANN401  whatever the YAML holds
    """Return values with the old names replaced by the new ones, as a file or the environment spells them."""
    for old, new in _OLD_NAMES.items():
        before, after = spelling(old), spelling(new)
        if isinstance(values, dict) and before in values and after not in values:
            warn(f"{prefix}{before} is now {after}; the next release of pibuild will not take the old name")
            values = {(after if name == before else name): value for name, value in values.items()}
    return values


def store_folder(settings: Settings) -> Path:
    """Return the folder of the store; UsageError if none is set and the user has no home folder."""
    if settings.store.folder:
        return Path(settings.store.folder).expanduser().absolute()
    try:
        Path.home()
        return user_cache_path("pibuild", appauthor=False)
    except RuntimeError as error:
        hint = "--store DIR, PIBUILD_STORE or HOME"
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
        what, hint = "This user has no home folder for the key of this machine", "`store: key:`, or HOME"
        raise UsageError(what, found=str(error), hint=hint) from error


def _refuse_plain_http(storage: Storage) -> None:
    """Raise UsageError if the shared store is at an http:// address of another machine, unless that is allowed."""
    parts = urlsplit(storage.remote.reveal() if storage.remote else "")
    if parts.scheme != "http" or storage.allow_http or _is_loopback(parts.hostname or ""):
        return
    raise UsageError(
        "`store: remote:` is an http:// address of another machine",
        expected="https://, or rclone with encryption",
        found=str(storage.remote),
        hint="`store: allow_http: true` if nobody else is in that network",
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of pibuild.yaml, for editors; settings.schema.json is this."""
    schema: dict[str, Any] = TypeAdapter(Settings).json_schema()
    return schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pibuild.yaml"}
