"""The rights and limits of containers, as options of Docker's SDK, for builds, proofs, trials and shells."""

import zlib
from typing import Any

from docker.types import Mount

from pibuild.adapters.container_files import CACHE, SHARED, WORK, written_folders
from pibuild.model import SESSION_LABEL, Run

_PIDS, _PIDS_PER_CPU = 1024, 32
"""Processes and threads of a container. Bazel uses some hundred on every machine, and some more for each job."""
_CPU_PERIOD_US = 100_000
_IN_MEMORY = {"/run": "size=64m,mode=1777", "/var/tmp": "size=64m,mode=1777"}  # noqa: S108  in the container


def container_options(run: Run) -> dict[str, Any]:
    """Return the options of a container for a build, a proof, a trial, a command on the device or a shell.

    It has no network unless the run says so, no capability and no set-uid program, its user is the run's, and it can
    write in its own volumes and in memory only. The engine's defaults for proxies are not passed on: they may have
    passwords.
    """
    limits = run.limits
    cpus = max(1, min(limits.jobs, limits.cpus))
    mounts = [Mount(target=folder, source=None, type="volume") for folder in (*written_folders(run), *run.volumes)]
    for folder, volume in ((CACHE, run.cache), (SHARED, run.shared)):
        mounts += [Mount(target=folder, source=volume, type="volume")] if volume else []
    return {
        "user": f"{limits.uid}:{limits.gid}",
        "working_dir": WORK,
        "network_mode": "host" if run.has_network else "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": dict(_IN_MEMORY),
        "mounts": mounts,
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "cpu_period": _CPU_PERIOD_US,
        "cpu_quota": cpus * _CPU_PERIOD_US,
        "cpuset_cpus": _processors(run),
        "pids_limit": _PIDS + _PIDS_PER_CPU * cpus,
        "environment": dict(run.env),
        "stdin_open": bool(run.stdin),
        "tty": run.stdin == "terminal",
        "use_config_proxy": False,
    }


def _processors(run: Run) -> str | None:
    """Return the processors that all containers of a session share; None if it may use all of the engine's.

    So together they never use more processors than the session has jobs. Different sessions begin at different
    processors.
    """
    jobs, cpus = max(1, run.limits.jobs), run.limits.cpus
    if jobs >= cpus:
        return None
    first = zlib.crc32(dict(run.labels).get(SESSION_LABEL, "").encode())
    return ",".join(str((first + number) % cpus) for number in range(jobs))
