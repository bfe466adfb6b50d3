"""What a publication signs: sets that it has made itself, provenance, and pointers; and what a new key changes."""

import json
import shutil
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from pibuild.errors import PublishError
from pibuild.publishing.check import check_site
from pibuild.publishing.layout import set_ids
from pibuild.publishing.model import SIDECARS
from pibuild.publishing.operations import current, publish, rollback, sweep, unyank, yank
from pibuild.publishing.pointer import read_pointer
from pibuild.publishing.provenance import provenance
from pibuild.wheels.wheel import dist_info_file
from tests.failures import fails
from tests.fakes.sources import NoWeb
from tests.makers.publications import after, make_proven, site_in, whole_pages
from tests.makers.sites import write_sums

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
CELL = "thing-pi-one-3.11"


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def signed(site, console):
    return lambda **changes: site_in(site, console, **{"key": KEY, "pages": whole_pages} | changes)


@pytest.fixture
def make(tmp_path):
    return lambda *versions: [make_proven(tmp_path / "made", version) for version in versions]


def wheels_for(site, key, days=0.5):
    return check_site(str(site), NoWeb(), now=after(days), public_key=key.public_key()).wheels


def test_a_signed_publication_satisfies_its_check(site, signed, make):
    publish(signed(), make("1.0", "1.1"), why="a test")
    assert wheels_for(site, KEY) == 2
    publish(signed(now=after(0.2)), make("1.2"), why="a test")
    yank(signed(now=after(0.3)), CELL, "bad")
    assert wheels_for(site, KEY) == 3
    rollback(signed(now=after(0.4)), None)
    assert wheels_for(site, KEY) == 3
    rollback(signed(now=after(0.4)), set_ids(site)[-1])
    assert (site / "rolled-back.json").exists()
    assert wheels_for(site, KEY) == 2


def test_numbers_grow_with_each_change_even_if_the_clock_goes_back(site, signed, make, words):
    numbers = []
    for day, act in enumerate((publish, publish, publish)):
        act(signed(now=after(-day)), make(f"1.{day}"), why="a test")
        numbers.append(read_pointer((site / "current.json").read_bytes()).pointer.number)
    assert numbers == [20261125120000, 20261125120001, 20261125120002]
    assert "the clock of this machine (2026-11-24T12:00:00Z) is behind the last publication (2026-11-25T12:00:00Z)" in (
        words.getvalue()
    )


def test_a_second_tool_verifies_the_provenance_of_each_wheel(site, signed, make):
    published = publish(signed(), make("1.0", "1.1"), why="a test")
    for wheel in published.wheels:
        envelope = Envelope.from_dict(json.loads((site / wheel.signed_provenance).read_bytes()))
        assert envelope.verify([SSlibKey.from_crypto(KEY.public_key())], 1)
        with pytest.raises(VerificationError):
            envelope.verify([SSlibKey.from_crypto(OTHER.public_key())], 1)
        statement = json.loads(envelope.payload)
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
        assert statement["subject"] == [{"name": wheel.file, "digest": {"sha256": wheel.sha256}}]


def test_a_second_tool_verifies_the_pointer(site, signed, make):
    published = publish(signed(), make("1.0"), why="a test")
    envelope = Envelope.from_dict(json.loads((site / "current.json").read_bytes()))
    envelope.verify([SSlibKey.from_crypto(KEY.public_key())], 1)
    assert json.loads(envelope.payload)["set"] == published.id


def plant(site, tmp_path, file_of):
    """Add a wheel to the current set as somebody could who can write to the site and has no key."""
    forged = make_proven(tmp_path / "forged", "6.6")
    before = json.loads((site / "current/set.json").read_text())
    facts = {"file": forged.file, "sha256": forged.sha256, "size_bytes": forged.path.stat().st_size}
    before["wheels"].append(before["wheels"][0] | facts)
    (site / "current/set.json").write_text(json.dumps(before))
    folder = site / f"files/{forged.sha256[:2]}/{forged.sha256}"
    shutil.copytree((site / file_of).parent, folder)
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("1.0", "6.6"))
    shutil.copy(forged.path, folder / forged.file)
    write_sums(site, current(site))


def test_a_wheel_that_was_planted_in_the_site_is_never_signed(site, signed, make, tmp_path):
    published = publish(signed(), make("1.0"), why="a test")
    plant(site, tmp_path, published.wheels[0].paths[0])
    before = (site / "current.json").read_bytes()
    for act in (
        lambda: publish(signed(), make("1.0", "1.1"), why="a test"),
        lambda: yank(signed(), CELL, "bad"),
        lambda: unyank(signed(), CELL),
        lambda: rollback(signed(), published.id),
    ):
        with fails(PublishError, naming=(published.id, "`publish: key:`")):
            act()
        assert (site / "current.json").read_bytes() == before
    with fails(PublishError, naming="thing-6.6-cp311-cp311-linux_armv6l.whl"):
        publish(signed(), make("1.0", "1.1"), why="a test")


def test_sidecars_that_were_planted_before_their_wheel_are_never_signed(site, signed, make):
    """Wheels are the same bit for bit, so others can make the next one, too."""
    publish(signed(), make("1.0"), why="a test")
    (wheel,) = make("1.1")
    folder = site / f"files/{wheel.sha256[:2]}/{wheel.sha256}"
    folder.mkdir(parents=True)
    record = json.dumps(wheel.record | {"pibuild": "forged"}).encode()
    metadata = dist_info_file(wheel.path, "METADATA")
    shutil.copy(wheel.path, folder)
    for suffix, content in zip(SIDECARS, (metadata, record, provenance(record)), strict=True):
        (folder / f"{wheel.file}{suffix}").write_bytes(content)

    publish(signed(now=after(0.1)), make("1.0", "1.1"), why="a test")

    assert wheels_for(site, KEY) == 2
    assert json.loads((folder / f"{wheel.file}.record.json").read_bytes()) == wheel.record
    assert b"forged" not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_a_wheel_that_only_an_earlier_set_lists_keeps_its_record(site, signed, tmp_path):
    """Else the earlier set would be damaged."""
    first, second = (make_proven(tmp_path / content.decode(), content=content) for content in (b"first", b"second"))
    publish(signed(), [first], why="a test")
    publish(signed(now=after(0.1)), [second], why="a test")
    again = replace(first, record=first.record | {"pibuild": "newer"})
    published = publish(signed(now=after(0.2)), [again], why="a test")
    record_path = site / f"{published.wheels[0].paths[0]}.record.json"
    assert json.loads(record_path.read_bytes()) == first.record
    assert wheels_for(site, KEY) == 1


def test_an_unsigned_site_is_signed_if_the_store_has_all_its_wheels(site, signed, make):
    publish(signed(key=None), make("1.0", "1.1"), why="a test")
    yank(signed(key=None), "thing-1.1-cp311-cp311-linux_armv6l.whl", "bad")
    with fails(PublishError, naming="thing-1.1"):
        publish(signed(), make("1.0"), why="a test")
    record = next((site / "files").glob("*/*/thing-1.0*.record.json"))
    record.write_text(record.read_text().replace('"pibuild"', '"forged"'))

    publish(signed(now=after(0.1)), make("1.0", "1.1"), why="a test")
    sweep(signed(now=after(0.1)), count=30)

    assert wheels_for(site, KEY) == 2
    assert [one.yanked for one in current(site).wheels] == [None, "bad"]
    assert "forged" not in record.read_text()


def test_a_new_key_continues_the_sets_of_a_listed_former_key(site, signed, make):
    first = publish(signed(), make("1.0"), why="a test")
    with fails(PublishError, naming="publish: former_keys:"):
        publish(signed(key=OTHER, now=after(0.1)), [], why="a test")

    new = {"key": OTHER, "former_keys": (KEY.public_key(),), "now": after(0.1)}
    published = publish(signed(**new), [], why="a test")
    assert published.id != first.id
    sweep(signed(**new), count=30)

    assert wheels_for(site, OTHER) == 1
    assert set_ids(site) == (published.id,)
    with fails(PublishError, naming="is not signed by this key"):
        wheels_for(site, KEY)
    assert publish(signed(key=OTHER, now=after(0.2)), [], why="a test") is None


def test_a_rollback_to_a_set_of_a_former_key_is_rejected(signed, make):
    first = publish(signed(), make("1.0"), why="a test")
    new = {"key": OTHER, "former_keys": (KEY.public_key(),), "now": after(0.1)}
    publish(signed(**new), make("1.1"), why="a test")
    with fails(PublishError, naming=first.id):
        rollback(signed(**new), first.id)


def test_a_site_of_an_older_pibuild_is_signed_by_the_next_publication(site, signed, make):
    published = publish(signed(), make("1.0"), why="a test")
    (site / "current.json").write_text(json.dumps({"set": published.id}) + "\n")
    with fails(PublishError, naming="is not signed"):
        wheels_for(site, KEY)
    assert publish(signed(now=after(0.1)), [], why="a test") is None
    assert wheels_for(site, KEY) == 1


def test_provenance_that_was_changed_in_the_site_is_not_signed(site, signed, make):
    (wheel,) = publish(signed(), make("1.0"), why="a test").wheels
    path = site / f"{wheel.paths[0]}.provenance.json"
    path.write_text(path.read_text().replace("pi-one", "pi-two"))
    with fails(PublishError, naming=path):
        publish(signed(now=after(0.1)), make("1.1"), why="a test")
