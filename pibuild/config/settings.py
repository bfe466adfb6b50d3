"""Settings: what a person may set by flag, PIBUILD_* variable or pibuild.yaml, and the file's JSON schema for editors.

`python -m pibuild.config.settings` prints the schema; settings.schema.json is that.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from pibuild.config.nightly_settings import Nightly
from pibuild.config.publish_settings import Publish
from pibuild.config.strict_yaml import Place, read_yaml, typed
from pibuild.errors import UsageError, nearest

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


_Amount = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
"""What can be counted in bytes or seconds."""


def _address(text: str) -> str:
    """Let only addresses pass that can be told apart; `folder/x` would be a folder here and a remote there."""
    if re.fullmatch(r"https?://[^/\s]+\S*|/.*|(?!https?:)[^-/\s][^/]*:.*", text):
        return text
    raise PydanticCustomError("address", "not http(s)://SERVER/PATH, nor rclone's REMOTE:PATH, nor /FOLDER")


def _storage(written: Any) -> Any:  # noqa: ANN401  whatever the YAML holds
    """Take a folder's name, or nothing, for what a mapping says in full."""
    return {"folder": written} if written is None or isinstance(written, str) else written


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where what was fetched and made is kept."""

    __pydantic_config__ = _STRICT
    folder: Place | None = None
    """Sources, artifacts and logs; the user's cache folder where unset. A flag or variable names it alone."""
    remote: Annotated[str, AfterValidator(_address)] | None = None
    """Artifacts and proven wheels that many machines share: `http(s)://SERVER/PATH` that takes GET and PUT, an rclone
    remote with a path (`name:path`), or a folder that all of them mount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a person may set by flag, PIBUILD_* variable or pibuild.yaml, in this order of strength."""

    __pydantic_config__ = _STRICT
    target: str | None = None
    python: str | None = None
    recipe: str | None = None
    release: str | None = None
    source: Place | None = None
    """Folder of a source tree of one's own, to build in place of the release's."""
    extras: Annotated[tuple[str, ...], Field(alias="with")] = ()
    """What to make beside the wheel."""
    no_api_wheel: bool = False
    """Write Python's API files by running TensorFlow on the machine, which is compiled a second time for it."""
    legacy_name: bool = False
    """Give copies of the wheel the names that wheels for the Pi had in 2017."""
    with_dependencies: bool = False
    """Fill the output folder with all that pip wants beside the wheel, too."""
    output: str = "wheelhouse"
    """Folder for wheels and records."""
    nightly: Nightly | None = None
    publish: Publish | None = None
    store: Annotated[Storage, BeforeValidator(_storage, json_schema_input_type=str | Storage | None)] = Storage()
    """Folder for sources, artifacts and logs, or in pibuild.yaml a mapping: `{folder: DIR, remote: ADDRESS}`."""
    mirrors: tuple[str, ...] = ()
    """Folders or servers of bare clones, such as `/srv/git/{owner}+{name}/repo`."""
    raspbian: str | None = None
    """Address of an archive of Raspbian, for `pibuild run --os`, such as `http://archive.raspbian.org/raspbian`."""
    offline: bool = False
    jobs: Annotated[int, Field(gt=0)] | None = None
    memory: _Amount | None = None
    """Memory for one container in GB; most of the engine's where unset."""
    deadline: _Amount = 480.0
    """Minutes that one container may take."""
    json: bool = False
    verbose: bool = False


_LISTED = {"mirrors": r"\S+", "with": r"[^\s,]+"}
"""What one item looks like in a variable that holds several."""


_IS_OURS = re.compile("PIBUILD_")
_IN_FILE_ONLY = ("nightly", "publish")
"""Keys that are whole parts of pibuild.yaml, and no flag or variable."""


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, warn: Callable[[str], None] = lambda _text: None
) -> Settings:
    """Merge flags (None where not given), PIBUILD_* variables and pibuild.yaml.

    The file is the flag's or `$PIBUILD_CONFIG`, else `pibuild.yaml` in the current folder. `warn` is called for a name
    that pibuild will not take any more. UsageError names what does not exist, and which flag, variable or key says it.
    """
    names = ["with" if field.name == "extras" else field.name for field in fields(Settings)]
    names = [name for name in names if name not in _IN_FILE_ONLY]
    from_file: dict[str, Any] = {}
    asked_file = flags.get("config") or environ.get("PIBUILD_CONFIG")
    path = Path(asked_file or cwd / "pibuild.yaml")
    if _is_there(path):
        from_file = _renamed(read_yaml(path) or {}, f"{path}: ", warn)
        typed(Settings, from_file, str(path))
    elif asked_file:
        by = "--config" if flags.get("config") else "PIBUILD_CONFIG"
        raise UsageError(f"{by} names a file that does not exist: {path}")
    variables = {name.removeprefix("PIBUILD_").lower(): text for name, text in environ.items() if _IS_OURS.match(name)}
    variables = _renamed(variables, "PIBUILD_", warn)
    for name in variables.keys() - {*names, "config"}:
        known = [f"PIBUILD_{name.upper()}" for name in (*names, "config")]
        raise UsageError(f"There is no variable PIBUILD_{name.upper()}", hint=nearest(f"PIBUILD_{name.upper()}", known))
    variables.pop("config", None)
    from_environ = {
        name: tuple(re.findall(_LISTED[name], text)) if name in _LISTED else text for name, text in variables.items()
    }
    try:
        typed(Settings, from_environ, "environment")
    except UsageError as error:
        details = [re.sub(r"^\w+", lambda name: f"PIBUILD_{name[0].upper()}", detail) for detail in error.details]
        raise UsageError("The environment is not as it should be", details=details) from error
    from_flags = {name: value for name, value in flags.items() if name in names and value is not None}
    merged = from_file | from_environ | from_flags
    if isinstance(from_file.get("store"), dict) and isinstance(merged["store"], str):
        merged["store"] = from_file["store"] | {"folder": merged["store"]}
    return typed(Settings, merged, "command line")


def _renamed(values: Any, prefix: str, warn: Callable[[str], None]) -> Any:  # noqa: ANN401  whatever the YAML holds
    """Return values with the key `version` spelled `release`."""
    if not isinstance(values, dict) or "version" not in values or "release" in values:
        return values
    old, new = (prefix + (name.upper() if prefix == "PIBUILD_" else name) for name in ("version", "release"))
    warn(f"{old} is now {new}; the next release of pibuild will not take the old name")
    return {("release" if name == "version" else name): value for name, value in values.items()}


def _is_there(path: Path) -> bool:
    """Whether there is such a file; reading one that nobody may see tells why."""
    try:
        path.stat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    return True


def settings_schema() -> dict[str, Any]:
    """Give the JSON schema of pibuild.yaml, for editors; settings.schema.json is this."""
    schema: dict[str, Any] = TypeAdapter(Settings).json_schema()
    return schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pibuild.yaml"}


if __name__ == "__main__":
    import json
    import sys

    sys.stdout.write(json.dumps(settings_schema(), indent=1) + "\n")
