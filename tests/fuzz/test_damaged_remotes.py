"""A shared store that is damaged, forged and exchanged at random: what is taken is what the trusted machine made."""


import json
import os
import random
import shutil
from pathlib import Path

import pytest

from pibuild.store.remote_folders import LocalFolder
from pibuild.store.trust import Trust
from tests.makers.plans import plan_for
from tests.makers.stores import Machine

ROUNDS = int(os.environ.get("PIBTEST_FUZZ", "300")) // 5
PLAN = plan_for()


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 6)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def truncate(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def remove(path: Path, _chance: random.Random) -> None:
    path.unlink()


def change_json(path: Path, chance: random.Random) -> None:
    path = path.with_name(f"{path.stem.partition('-')[0]}.json")  # that of a tar, too
    value = json.loads(path.read_bytes())
    value[chance.choice(list(value))] = chance.choice([None, 1, [], {}, "x", [{}], [[]], "0" * 100])
    path.write_text(json.dumps(value))


def plant_link(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(chance.choice(["/dev/zero", "/etc/passwd", "/", "loop"]))


DAMAGE = (flip, truncate, remove, change_json, plant_link)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_whatever_happens_to_a_remote_only_good_work_is_taken(tmp_path, seed):
    chance, shared = random.Random(seed), tmp_path / "shared"
    one, forger = Machine(tmp_path / "one", LocalFolder(shared)), Machine(tmp_path / "f", LocalFolder(tmp_path / "m"))
    one.share(PLAN)
    one.remote.put_outcome("cell", {"a": 1})
    forger.share(PLAN, wheel=b"evil")
    names = sorted(path.relative_to(shared) for path in shared.rglob("*.*"))
    forged = sorted(path.relative_to(tmp_path / "m") for path in (tmp_path / "m").rglob("*.*"))
    shutil.copytree(shared, tmp_path / "good")
    for name in chance.sample(names, chance.randrange(1, 5)):
        path, source = shared / name, chance.choice(("good", "m", ""))
        from_path = tmp_path / source / chance.choice(forged if source == "m" else names)
        if source == "m":
            path = shared / chance.choice((name, from_path.relative_to(tmp_path / "m")))
        if source and from_path.is_file():
            shutil.copy(from_path, path)
        elif path.is_file() and not path.is_symlink():
            try:
                chance.choice(DAMAGE)(path, chance)
            except ValueError:  # no JSON any more
                continue

    trust = Trust(listed=frozenset({one.public}))
    other = Machine(tmp_path / "other", LocalFolder(shared), trust)
    wheel = other.pull_wheel(PLAN)
    assert wheel is None or wheel.path.read_bytes() == b"a wheel"
    for artifact in PLAN.artifacts:
        pulled = other.remote.pull_artifact(artifact)
        good = one.store.artifact(artifact.key)
        assert pulled is None or pulled.path.read_bytes() == good.path.read_bytes()
    assert other.remote.outcome("cell", is_for_signing=True) in (None, {"a": 1})

    if other.remote._target:  # it mends what it could not use
        other.remote.push(PLAN, wheel or other.make(PLAN))
        third = Machine(tmp_path / "third", LocalFolder(shared), Trust(listed=frozenset({one.public, other.public})))
        assert third.pull_wheel(PLAN), third.words.getvalue()
        third.store.close()
    for machine in (one, other, forger):
        machine.store.close()
