"""ci/remote: the files that start a server of remote execution."""

import subprocess
import sys
from pathlib import Path

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
