"""The containers that prepare the compilers' cache of a run: they fill it from another cache, or change its owner.

They run nothing of a recipe. The one that changes owners is root's and has no other right: with CAP_DAC_READ_SEARCH, an
image could read each file of the machine (open_by_handle_at(2)).
"""

from typing import Any, NamedTuple

from docker.types import Mount

from pibuild.adapters.container_files import CACHE
from pibuild.adapters.container_options import container_options
from pibuild.model import Run

OF_ANOTHER_USER = 77
"""The exit code of a step that finds that the cache is another user's."""
_FROM = "/from"
_BEGIN = f"""
[ "$(stat -c %u:%g {CACHE})" = "$0" ] || exit {OF_ANOTHER_USER}
[ -d {_FROM} ] && [ ! -e {CACHE}/.begun ] || exit 0
chmod -R u+w {CACHE} && find {CACHE} -mindepth 1 -delete || exit 1
[ "$(stat -c %u:%g {_FROM})" != "$0" ] || cp -rP --preserve=mode,timestamps,links {_FROM}/. {CACHE} || exit 1
touch {CACHE}/.begun
"""
"""Copies a cache, unless it is another user's; the mark is last, so that an interrupted run begins again."""
_TAKE_OVER = f"""
closed() {{ find {CACHE} -type d ! '(' -user 0 -perm -u=rwx ')' "$@"; }}
tries=0
while closed -exec chown 0:0 {{}} + -exec chmod u+rwx {{}} + 2> /run/errors; [ -s /run/errors ]; do
  (( ++tries < 100 )) || {{ cat /run/errors; exit 1; }}
done
find {CACHE} -mindepth 1 -depth -exec chown -h "$0" {{}} + && chown "$0" {CACHE}
"""
"""Gives the files of a cache to another user. Root has no right to look into folders of others, so they become its own
first, one level in each try. The top is last, so that an interrupted run begins again."""


class CacheStep(NamedTuple):
    """A container that prepares a cache."""

    command: list[str]
    options: dict[str, Any]
    """Of Docker's SDK."""


def filling(run: Run) -> CacheStep:
    """Return the step that fills a run's new cache from the one that it begins with, if there is one."""
    origin = [Mount(target=_FROM, source=run.cache_from, type="volume", read_only=True)] if run.cache_from else []
    return _step(run, _BEGIN, {"mounts": [_cache(run), *origin]})


def taking_over(run: Run) -> CacheStep:
    """Return the step that gives the cache of another user to the run's user."""
    return _step(run, _TAKE_OVER, {"mounts": [_cache(run)], "user": "0:0", "cap_add": ["CHOWN"]})


def _cache(run: Run) -> Mount:
    return Mount(target=CACHE, source=run.cache, type="volume")


def _step(run: Run, script: str, changes: dict[str, Any]) -> CacheStep:
    plain = {"environment": {}, "stdin_open": False, "tty": False}
    command = ["bash", "-c", script, f"{run.limits.uid}:{run.limits.gid}"]
    return CacheStep(command, container_options(run) | plain | changes)
