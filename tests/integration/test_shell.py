"""The shell of a failed build has the sandbox of the build itself."""

import json
import subprocess

import pytest

from tests.integration.one_build import base_image
from tests.makers.plans import make_run

CONFINING = {
    "HostConfig": (
        *("CapAdd", "CapDrop", "Memory", "MemorySwap", "NanoCpus", "NetworkMode", "PidsLimit", "Privileged"),
        *("ReadonlyRootfs", "SecurityOpt", "Binds", "Devices", "IpcMode", "PidMode", "UsernsMode"),
    ),
    "Config": ("User", "WorkingDir", "Env", "Cmd"),
}


def confinement(container_id):
    """Return what the engine says of a container's limits and rights."""
    command = ["docker", "inspect", container_id]
    (facts,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {(part, name): facts[part].get(name) or None for part, names in CONFINING.items() for name in names}


@pytest.mark.usefixtures("base")
def test_a_container_of_the_docker_command_is_confined_as_one_of_a_build(engine):
    run = make_run(image=base_image().reference, command=("bash",), env=(("PIBUILD", "1"),))
    with engine.container(run) as container:
        built = confinement(container._handle.id)
    program, verb, *words = engine.command_line(run)
    assert (program, verb) == ("docker", "run")
    made = subprocess.run([program, "create", *words], capture_output=True, text=True, check=True).stdout.strip()
    try:
        shell = confinement(made)
    finally:
        subprocess.run(["docker", "rm", "--force", made], capture_output=True, check=True)

    assert shell == built
    assert (shell["HostConfig", "CapDrop"], shell["HostConfig", "PidsLimit"]) == (["ALL"], 4096)
    assert shell["HostConfig", "SecurityOpt"] == ["no-new-privileges"]
