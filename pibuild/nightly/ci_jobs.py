"""The cells of the matrix as jobs of a CI system, one job for each cell.

Pure: cells in, text out. A job runs `pibuild nightly --only CELL --no-publish`; one job after them all publishes. The
machines exchange wheels and outcomes through the shared store.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import yaml

from pibuild.errors import UsageError, nearest
from pibuild.model import Cell

KINDS = ("github", "gitlab", "json")

_GITHUB_JOBS = 256
"""Most jobs that one matrix may have: docs.github.com, "Workflow syntax", `jobs.<job_id>.strategy.matrix`."""
_GITLAB_HEAD = """\
# Written by `pibuild nightly matrix --format gitlab`: one job for each cell. The parent pipeline sets RUNNER_TAG.
"""


def formatted(cells: Sequence[Cell], kind: str) -> str:
    """Return the cells in a CI system's format: one line of JSON for github and json, YAML for gitlab.

    Raises UsageError if the format is unknown, or if the system can't start that many jobs.
    """
    match kind:
        case "github":
            return json.dumps(as_github(cells))
        case "gitlab":
            return as_gitlab(cells)
        case "json":
            return json.dumps(as_json(cells))
    raise UsageError(f"--format has no value {kind!r}", hint=nearest(kind, KINDS))


def as_github(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the value of `strategy: matrix:` of a job of GitHub Actions; `cell` is the value for `--only`."""
    if len(cells) > _GITHUB_JOBS:
        raise UsageError(
            "The matrix has more cells than a matrix of GitHub Actions may have jobs",
            expected=f"at most {_GITHUB_JOBS}",
            found=str(len(cells)),
            hint="two configuration files and two workflows, or ci/github/nightly-one-machine.yml",
        )
    return {"include": as_json(cells)}


def as_gitlab(cells: Sequence[Cell]) -> str:
    """Return a whole pipeline of GitLab CI, for `trigger: include: artifact`.

    A cell's job keeps results and logs whether it failed or not. The exit code for "nothing to do" is a success.
    """
    return _GITLAB_HEAD + yaml.safe_dump({cell.id: _gitlab_job(cell) for cell in cells}, sort_keys=False, width=120)


def as_json(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the fields of each cell, and as `cell` the value for `--only`."""
    return [{"cell": cell.id, **asdict(cell)} for cell in cells]


def _gitlab_job(cell: Cell) -> dict[str, Any]:
    return {
        "stage": "build",
        "tags": ["$RUNNER_TAG"],
        "timeout": "10 hours",
        "before_script": ["rm -f nightly/junit.xml"],  # an earlier job in the same folder left another cell's
        "script": [
            f"ci/pibuild nightly --only {shlex.quote(cell.id)} --no-publish || code=$?",
            "exit $((code == 3 ? 0 : code))",
        ],
        "artifacts": {
            "when": "always",
            "expire_in": "2 weeks",
            "paths": ["nightly/junit.xml", "nightly/summary.md", "nightly/logs/"],
            "reports": {"junit": "nightly/junit.xml"},
        },
    }
