"""The cells of the matrix, each as a job of its own, in the words of a CI system.

Pure: cells in, text out. What such a job runs is `pibuild nightly --only CELL --no-publish`; one job after them all
publishes. Where the machines meet is the store's remote.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import yaml

from pibuild.errors import UsageError, nearest
from pibuild.nightly.model import Cell

KINDS = ("github", "gitlab", "json")

_GITHUB_JOBS = 256
"""Jobs that one matrix may have: docs.github.com, "Workflow syntax", `jobs.<job_id>.strategy.matrix`."""
_GITLAB_HEAD = """\
# One job for each cell, written by `pibuild nightly matrix --format gitlab`.
# RUNNER_TAG comes from the pipeline that starts it.
"""


def formatted(cells: Sequence[Cell], kind: str) -> str:
    """Give the cells as `kind` wants them: one line of JSON for github and json, YAML for gitlab.

    UsageError where there is no such kind, or where the system can't start that many jobs.
    """
    match kind:
        case "github":
            return json.dumps(as_github(cells))
        case "gitlab":
            return as_gitlab(cells)
        case "json":
            return json.dumps(as_json(cells))
    raise UsageError(f"There is no format {kind!r}", hint=nearest(kind, KINDS))


def as_github(cells: Sequence[Cell]) -> dict[str, Any]:
    """Give what stands under `strategy: matrix:` of a job of GitHub Actions; `cell` is the name to pass on."""
    if len(cells) > _GITHUB_JOBS:
        raise UsageError(
            "The matrix has more cells than GitHub starts jobs for",
            expected=f"at most {_GITHUB_JOBS}",
            found=str(len(cells)),
            hint="two configuration files and two workflows, or ci/github/nightly-one-machine.yml",
        )
    return {"include": as_json(cells)}


def as_gitlab(cells: Sequence[Cell]) -> str:
    """Give a whole pipeline of GitLab CI, to be started by `trigger: include: artifact`.

    A cell's job keeps the night's results and logs whether it failed or not; nothing to do is a success.
    """
    return _GITLAB_HEAD + yaml.safe_dump({cell.id: _gitlab_job(cell) for cell in cells}, sort_keys=False, width=120)


def as_json(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Give each cell's parts, and as `cell` the name by which `--only` knows it."""
    return [{"cell": cell.id, **asdict(cell)} for cell in cells]


def _gitlab_job(cell: Cell) -> dict[str, Any]:
    return {
        "stage": "build",
        "tags": ["$RUNNER_TAG"],
        "timeout": "10 hours",
        "before_script": ["rm -f nightly/junit.xml"],  # another cell's, of an earlier job in the same folder
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
