"""ci/remote: the files that start a server of remote execution."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pibuild.build.remote_programs import pinned_programs, starter

REMOTE = Path(__file__).parents[2] / "ci" / "remote"


def test_the_compose_file_is_valid():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    ended = subprocess.run([*command, REMOTE / "compose.yaml"], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout


def test_only_the_front_of_the_compose_file_is_reachable():
    services = yaml.safe_load((REMOTE / "compose.yaml").read_text())["services"]

    assert [name for name, service in services.items() if "ports" in service] == ["front"]
    assert [name for name, service in services.items() if "outside" in service["networks"]] == ["front"]


def command_of_front(file: str) -> tuple[list[str], str]:
    """Return the command of the front in a file of ci/remote, and the path of its template."""
    if file == "compose.yaml":
        return yaml.safe_load((REMOTE / file).read_text())["services"]["front"]["command"], "/front.conf.in"
    for document in yaml.safe_load_all((REMOTE / file).read_text()):
        if document["kind"] == "Deployment" and document["metadata"]["name"] == "front":
            return document["spec"]["template"]["spec"]["containers"][0]["command"], "/conf/front.conf.in"
    raise AssertionError(f"{file} has no front")


@pytest.mark.parametrize("file", ["compose.yaml", "kubernetes.yaml"])
def test_the_command_of_the_front_fills_in_its_configuration(tmp_path, file):
    (shell, option, script), template = command_of_front(file)
    filled = tmp_path / "front.conf"
    for old, new in ((template, REMOTE / "front.conf.in"), ("/tmp/front.conf", filled), ("exec nginx", "echo nginx")):
        assert old in script
        script = script.replace(old, str(new))
    ended = subprocess.run([shell, option, script], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (0, f"nginx -c {filled}\n"), ended.stderr
    values = ["listen 8443 ssl;", "pid /var/cache/nginx/nginx.pid;", "/certificates/server.crt;"]
    values += ["upstream scheduler { server scheduler:50051;", "upstream storage { server storage:50052;"]
    lines = [line for line in filled.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [value for value in values if value not in "\n".join(lines)] == []
    assert [line for line in lines if "@S" in line or "@C" in line or "@L" in line] == []


def test_the_manifest_has_a_pod_for_each_service_and_a_policy_for_each_inner_one():
    documents = list(yaml.safe_load_all((REMOTE / "kubernetes.yaml").read_text()))
    sets = [one for one in documents if one["kind"] in ("Deployment", "StatefulSet")]
    pods = {one["spec"]["template"]["metadata"]["labels"]["app"] for one in sets}
    services = {
        one["metadata"]["name"]: one["spec"]["selector"]["app"] for one in documents if one["kind"] == "Service"
    }
    policies = str([one["spec"]["podSelector"] for one in documents if one["kind"] == "NetworkPolicy"])

    assert {one["spec"]["selector"]["matchLabels"]["app"] for one in sets} == pods
    assert set(services.values()) <= pods
    assert [name for name in ("scheduler", "storage", "database") if name not in policies] == []


def test_every_pinned_program_has_a_hash_at_each_place():
    programs = pinned_programs()

    assert {"buildbox", "libc6", "nginx", "casd-1.3.39"} <= programs.keys()
    for source in programs.values():
        assert len(source.tree) == 64
        assert all(len(place.sha256) == 64 for place in source.places)


def test_the_property_by_which_workers_are_chosen_reaches_a_program(tmp_path):
    loader = tmp_path / "lib" / "ld-linux-x86-64.so.2"
    loader.parent.mkdir()
    loader.write_text("#!/bin/bash\nexec env\n")
    program = tmp_path / "recc"
    program.write_text(starter("recc", str(tmp_path)))
    for path in (loader, program):
        path.chmod(0o755)
    name = "RECC_REMOTE_PLATFORM_container-image"
    ended = subprocess.run([program], env={name: "the-image"}, capture_output=True, text=True, check=True)

    assert f"{name}=the-image" in ended.stdout.splitlines()
