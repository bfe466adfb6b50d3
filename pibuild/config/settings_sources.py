"""The sources of settings: options, PIBUILD_* variables and pibuild.yaml.

An option overrides a variable, a variable the file.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from pibuild.config.settings import RemoteExecution, Settings, Storage
from pibuild.config.strict_yaml import checked, invalid, read_yaml, typed
from pibuild.config.validation import file_levels
from pibuild.errors import UsageError, closest

ROOT_UID = 0
_IN_FILE_ONLY = ("nightly", "publish")
"""Keys of pibuild.yaml that are neither flags nor variables."""
_EXCLUSIVE = ("quiet", "verbose")
"""Settings that exclude each other: if a source sets one of them to true, it sets the other one to false."""
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
    if not (flag or variable):
        _refuse_if_planted(path)
    content: dict[str, Any] = {} if written is None else _renamed(written, str, f"{path}: ", warn)
    if faults := _faults(content):
        raise invalid(path, faults)
    return content


def _refuse_if_planted(path: Path) -> None:
    """Raise UsageError if another user has put the current folder's pibuild.yaml where every user may, as in /tmp."""
    owner = path.stat().st_uid
    if owner not in (os.geteuid(), ROOT_UID) and path.parent.stat().st_mode & stat.S_IWOTH:
        raise UsageError(
            f"{path} is another user's, in a folder that every user of this machine can write to",
            expected=f"a file of the user {os.geteuid()}",
            found=f"a file of the user {owner}",
            hint=f"start pibuild in another folder; or, if you trust that user, --config {path}",
        )


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
