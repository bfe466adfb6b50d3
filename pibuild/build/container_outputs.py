"""The outputs of a container that pibuild reads: a CPU time, results as JSON, lists as text.

The programs of a container are not trusted, so their outputs are checked before they are used.
"""

import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pibuild.errors import BuildError, printable

_TIMES = re.compile(r"\d+m[\d.]+s \d+m[\d.]+s\n(\d{1,9})m(\d\d?\.\d{3})s (\d{1,9})m(\d\d?\.\d{3})s\n")

_MOST_COUNT = 1 << 53
"""What JSON's readers and charts can have."""
_LONGEST_NAME = 1000


def cpu_seconds(times: str) -> float:
    """Return user and system time of the children, the second line of bash's `times`: `3m9.481s 0m7.021s`."""
    if not (match := _TIMES.fullmatch(times)):
        raise BuildError("/work/cpu is not what the shell's `times` prints", found=repr(times[:80]))
    user_min, user_s, system_min, system_s = (float(number) for number in match.groups())
    return round(60 * (user_min + system_min) + user_s + system_s, 2)


def single_file(tar_path: Path) -> str:
    """Return the text of the one file of a tar that a container left. Raises BuildError if it is something else."""
    try:
        with tarfile.open(tar_path, "r:") as tar:
            member = tar.next()
            if member is None or not member.isreg():
                raise BuildError(f"{member.name if member else 'an output'} of the container is not a file")
            content = tar.extractfile(member)
            return content.read().decode() if content else ""
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise BuildError("An output of the container is not a text", found=str(error)) from error


def check_text(path: str, text: str) -> None:
    """Raise BuildError if the text of an output does not fit its name.

    JSON has to be an object of finite numbers and of texts that UTF-8 can have, of which `results` is a count or a list
    of names, and `models` a list of objects with a name and a count. Other texts have to be lines without control
    characters.
    """
    if not path.endswith(".json"):
        if any(not line.isprintable() for line in text.splitlines()):
            raise BuildError(f"{path} of the container has control characters")
        return
    try:
        facts = json.loads(text)
        json.dumps(facts, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise BuildError(f"{path} of the container is not JSON", found=str(error)[:200]) from error
    if not isinstance(facts, dict) or not is_result(facts):
        raise BuildError(f"{path} of the container is not a result", found=text[:80])


def is_result(facts: Mapping[str, Any]) -> bool:
    """Return whether a proof's result has its counts and names, as far as pibuild reads them."""
    models = facts.get("models", [])
    described = [model for model in models if isinstance(model, dict)] if isinstance(models, list) else [{}]
    results = facts.get("results", 0)
    names = results if isinstance(results, list) else []
    counts = [
        len(results) if isinstance(results, list) else results,
        *(model.get("instructions", 0) for model in described),
    ]
    has_counts = all(isinstance(count, int) and not isinstance(count, bool) for count in counts)
    return (
        has_counts
        and all(0 <= count <= _MOST_COUNT for count in counts)
        and all(map(_is_name, [*names, *(model.get("name") for model in described)]))
    )


def _is_name(name: Any) -> bool:  # noqa: ANN401  what JSON can hold
    return isinstance(name, str) and len(name) <= _LONGEST_NAME and name == printable(name)
