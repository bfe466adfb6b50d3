"""The container of a build, of a proof and of a shell has no right that it does not need."""

import json
import pickle
import subprocess
import sys

import pytest

from tests.integration.one_build import base_image
from tests.makers.plans import make_run


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("stdin", ["", "pipe", "terminal"])
def test_a_container_has_no_rights_and_no_network(engine, stdin):
    run = make_run(image=base_image().reference, command=("bash",), env=(("PIBUILD", "1"),), stdin=stdin)
    with engine.container(run) as container:
        command = ["docker", "inspect", container._handle.id]
        (facts,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    host = facts["HostConfig"]

    assert (host["CapAdd"], host["CapDrop"], host["Privileged"]) == (None, ["ALL"], False)
    assert (host["SecurityOpt"], host["NetworkMode"]) == (["no-new-privileges"], "none")
    assert (host["Memory"], host["MemorySwap"]) == (run.limits.memory_bytes, run.limits.memory_bytes)
    assert (host["CpuQuota"], host["CpuPeriod"]) == (run.limits.cpus * 100_000, 100_000)
    assert host["PidsLimit"] == 1024 + 32 * run.limits.cpus
    assert not host["Binds"]
    assert not host["Devices"]
    assert facts["Config"]["User"] == f"{run.limits.uid}:{run.limits.gid}"


@pytest.mark.usefixtures("base")
def test_a_shell_reads_its_commands_from_a_pipe():
    run = make_run(image=base_image().reference, command=("bash",), stdin="pipe")
    script = (
        "import os, pickle, sys\n"
        "from pibuild.adapters.docker import Engine\n"
        "with Engine(os.environ).container(pickle.loads(bytes.fromhex(sys.argv[1]))) as container:\n"
        "    sys.exit(container.attach().exit_code)\n"
    )
    words = [sys.executable, "-c", script, pickle.dumps(run).hex()]
    commands = "touch /work/build/x && ls /work/build; exit 7"
    ended = subprocess.run(words, input=commands, check=False, capture_output=True, text=True)

    assert (ended.stdout, ended.returncode) == ("x\n", 7)
