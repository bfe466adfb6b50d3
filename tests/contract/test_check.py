"""The check of a site in a folder: undamaged, and one test for each kind of damage."""

import json
import os
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.errors import PublishError, SourceError, UsageError
from pibuild.publishing.check import CheckedSet, check_site
from tests.failures import fails
from tests.fakes.sources import NoWeb, SilentWeb
from tests.makers.sites import add_wheel, make_set, make_site, point, write_sums

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def check(site, **more):
    return check_site(str(site), NoWeb(), **{"now": NOW} | more)


def faults(site, **more):
    with pytest.raises(PublishError) as caught:
        check(site, **more)
    return list(caught.value.details)


@pytest.fixture
def wheel(tmp_path):
    return add_wheel(tmp_path)


@pytest.fixture
def published(tmp_path, wheel):
    return make_site(tmp_path, wheel)


def beside(tmp_path, wheel, suffix=""):
    return tmp_path / wheel.folder / f"{wheel.file}{suffix}"


def test_a_whole_site_is_whole_in_a_folder_and_by_a_file_address(tmp_path):
    wheels = add_wheel(tmp_path, yanked="bad"), add_wheel(tmp_path, python="3.13", requires_python=">=3.13")
    published = make_site(tmp_path, *wheels)
    times = {"made": "2026-11-25T03:15:00Z", "expires": "2026-12-02T03:15:00Z"}
    expected = CheckedSet(set_id=published.id, wheels=2, files=2 * 4 + 2 + 4, number=20261125031500, **times)
    assert check(tmp_path) == expected
    assert check(tmp_path.as_uri()) == expected


def test_a_signed_site_is_whole_with_and_without_the_key(tmp_path, wheel):
    published = make_site(tmp_path, wheel, key=KEY)
    assert check(tmp_path, public_key=KEY.public_key()).set_id == published.id
    assert check(tmp_path).set_id == published.id


def test_a_site_without_links_is_whole_as_well(tmp_path, published):
    (tmp_path / "current").unlink()
    shutil.copytree(tmp_path / published.id, tmp_path / "current")
    assert check(tmp_path).set_id == published.id


@pytest.mark.usefixtures("published")
def test_progress_reaches_the_number_of_files(tmp_path):
    told = []
    check(tmp_path, progress=lambda *words: told.append(words))
    assert told[-1][0] == told[-1][1]


def test_a_folder_without_a_site_is_exit_code_12(tmp_path):
    with pytest.raises(PublishError) as caught:
        check(tmp_path)
    assert caught.value.exit_code == 12
    assert "no published set" in str(caught.value)
    assert "current.json is missing" in str(caught.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/dev/zero", "a/b.html", ""])
def test_a_pointer_that_leads_out_of_the_top_folder_is_named(tmp_path, published, name):
    point(tmp_path, published.id, top={name: "0" * 64})
    with fails(PublishError, naming=(tmp_path, "current.json")):
        check(tmp_path)


@pytest.mark.parametrize("path", ["index.html", "simple/index.html"])
def test_a_pipe_in_place_of_a_file_does_not_stop_the_check(tmp_path, published, path):
    place = tmp_path / path if "/" not in path else tmp_path / published.id / path
    place.unlink()
    os.mkfifo(place)
    assert any(fault.endswith("is not a file") for fault in faults(tmp_path))


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("pointer", ["", "[]", '{"set": 5}', '{"set": "../x"}', '{"set": ""}', "[" * 100_000])
def test_a_damaged_pointer_is_named(tmp_path, pointer):
    (tmp_path / "current.json").write_text(pointer)
    with fails(PublishError, naming=(tmp_path, "current.json")):
        check(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"id": "x", "made": "", "why": "", "wheels": [{}]}'])
def test_a_damaged_set_json_is_named(tmp_path, published, content):
    (tmp_path / published.id / "set.json").write_text(content)
    with fails(PublishError, naming=published.id):
        check(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"file": "thing.whl"}, {"file": "thing-1-py3-none-a/b.whl"}, {"made": "yesterday"}]
)
def test_a_set_json_that_makes_no_index_is_rejected(tmp_path, published, changes):
    facts = asdict(published)
    facts["wheels"] = [one | changes for one in facts["wheels"]]
    (tmp_path / published.id / "set.json").write_text(json.dumps(facts))
    with fails(PublishError, naming=published.id):
        check(tmp_path)


def test_a_server_that_does_not_answer_ends_the_check():
    with pytest.raises(PublishError) as caught:
        check_site("https://me:secret@pi.example/", SilentWeb(), now=NOW)
    assert "can't be checked" in str(caught.value)
    assert "pi.example is not reachable" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_address_of_another_kind_is_rejected():
    with fails(UsageError, naming="ftp://"):
        check_site("ftp://example.org/", NoWeb(), now=NOW)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("suffix", ["", ".metadata", ".record.json", ".provenance.json"])
def test_a_missing_file_is_found(tmp_path, wheel, suffix):
    beside(tmp_path, wheel, suffix).unlink()
    assert faults(tmp_path) == [f"{wheel.folder}{wheel.file}{suffix}: is missing"]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("suffix", ["", ".metadata", ".record.json", ".provenance.json"])
def test_an_altered_file_is_found(tmp_path, wheel, suffix):
    path = beside(tmp_path, wheel, suffix)
    path.write_bytes(path.read_bytes() + b" ")
    assert any(one.startswith(f"{wheel.folder}{wheel.file}{suffix}: has sha256 ") for one in faults(tmp_path))


def test_an_altered_wheel_is_found_even_if_its_sum_was_altered(tmp_path, published, wheel):
    path = beside(tmp_path, wheel)
    path.write_bytes(path.read_bytes() + b" ")
    write_sums(tmp_path, published)
    [fault] = [one for one in faults(tmp_path) if "set.json says" in one]
    assert f"{wheel.size_bytes + 1} bytes" in fault


def test_all_faults_are_reported_at_once(tmp_path, published, wheel):
    beside(tmp_path, wheel, ".metadata").unlink()
    (tmp_path / published.id / "simple/index.html").unlink()
    (tmp_path / published.id / "index.html").write_text("altered")
    assert len(faults(tmp_path)) == 3


@pytest.mark.parametrize("page", ["index.html", "index.json", "thing/index.html", "thing/index.json"])
def test_a_page_that_set_json_does_not_make_is_found(tmp_path, published, page):
    path = tmp_path / published.id / "simple" / page
    path.write_bytes(path.read_bytes().replace(b"thing", b"other"))
    write_sums(tmp_path, published)
    assert faults(tmp_path) == [f"{published.id}/simple/{page}: is not the page that set.json makes"]


@pytest.mark.parametrize(
    "name", ["set.json", "simple/index.html", "simple/thing/index.json", ".whl", ".whl.metadata", ".whl.record.json"]
)
def test_a_file_that_the_sums_leave_out_is_found(tmp_path, published, name):
    path = tmp_path / published.id / "SHA256SUMS"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.rstrip().endswith(name)))
    assert [one for one in faults(tmp_path) if f"{published.id}/SHA256SUMS: does not list" in one and name in one]


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "../files/../../secret", "simple/../../secret", "", "."]
)
def test_sums_that_lead_out_of_the_site_are_rejected(tmp_path, published, name):
    with (tmp_path / published.id / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  {name}\n")
    point(tmp_path, published.id)
    assert ["has a line that names no file of the set" in one for one in faults(tmp_path)] == [True]


def test_a_file_that_the_sums_list_twice_is_found(tmp_path, published):
    with (tmp_path / published.id / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  set.json\n")
    point(tmp_path, published.id)
    assert faults(tmp_path) == [f"{published.id}/SHA256SUMS: lists set.json twice"]


def test_any_other_file_in_the_sums_is_checked(tmp_path, published):
    with (tmp_path / published.id / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  style.css\n{'0' * 64}  ../files/ab/old.whl\n")
    point(tmp_path, published.id)
    assert set(faults(tmp_path)) == {"files/ab/old.whl: is missing", f"{published.id}/style.css: is missing"}


def test_a_set_json_of_another_set_is_found(tmp_path, published):
    (tmp_path / published.id).rename(tmp_path / "other")
    (tmp_path / "current.json").write_text('{"set": "other"}')
    assert f"other/set.json: is of the set {published.id}" in faults(tmp_path)


def test_a_current_folder_of_another_set_is_found(tmp_path, published):
    (tmp_path / "current").unlink()
    shutil.copytree(tmp_path / published.id, tmp_path / "current")
    (tmp_path / "current/SHA256SUMS").write_text("of another\n")
    assert faults(tmp_path) == [f"current/SHA256SUMS: is of another set than {published.id}, which current.json names"]


def test_a_page_of_current_that_was_altered_is_found(tmp_path, published):
    (tmp_path / "current").unlink()
    shutil.copytree(tmp_path / published.id, tmp_path / "current")
    (tmp_path / "current/simple/index.html").write_text("altered")
    [fault] = faults(tmp_path)
    assert fault.startswith("current/simple/index.html: has sha256 ")


def test_with_a_key_a_missing_signature_is_a_fault(tmp_path, wheel):
    published = make_site(tmp_path, wheel, key=KEY)
    (tmp_path / published.id / "SHA256SUMS.sig").unlink()
    assert faults(tmp_path, public_key=PUBLIC) == [f"{published.id}/SHA256SUMS.sig: is missing"]


@pytest.mark.parametrize(
    "signature",
    [b"", Ed25519PrivateKey.generate().sign(b"x"), b"x" * 64],
    ids=["empty", "of another key", "no signature"],
)
def test_with_a_key_another_signature_is_a_fault(tmp_path, wheel, signature):
    published = make_site(tmp_path, wheel, key=KEY)
    (tmp_path / published.id / "SHA256SUMS.sig").write_bytes(signature)
    said = faults(tmp_path, public_key=PUBLIC)
    assert said == [f"{published.id}/SHA256SUMS.sig: is not this key's signature of SHA256SUMS"]


def test_with_a_key_a_signature_of_other_sums_is_a_fault(tmp_path, wheel):
    published = make_site(tmp_path, wheel, key=KEY)
    with (tmp_path / published.id / "SHA256SUMS").open("a") as sums:
        sums.write(f"{published and '0' * 64}  index.html\n")
    assert any("is not this key's signature" in one for one in faults(tmp_path, public_key=KEY.public_key()))


def test_metadata_of_another_wheel_is_found(tmp_path, published, wheel):
    beside(tmp_path, wheel, ".metadata").write_text("Name: other\n")
    write_sums(tmp_path, published)
    said = "\n".join(faults(tmp_path))
    digest = sha256(b"Name: other\n").hexdigest()
    assert f".metadata has sha256 {digest}, set.json says {wheel.metadata_sha256}" in said
    assert ".metadata differs from METADATA in the wheel" in said


@pytest.mark.usefixtures("published")
def test_a_wheel_that_is_no_zip_file_is_found(tmp_path, wheel):
    beside(tmp_path, wheel).write_bytes(b"no zip")
    assert any("METADATA can't be read: not a whole zip file" in one for one in faults(tmp_path))


def test_a_wheel_without_metadata_is_found(tmp_path):
    wheel = add_wheel(tmp_path, files={"other-1.dist-info/METADATA": b"Name: other\n"})
    make_site(tmp_path, wheel)
    assert any("2 METADATA files, one expected" in one for one in faults(tmp_path))


@pytest.mark.parametrize(("keys", "words"), [(("wheel", "sha256"), "wheel sha256"), (("plan", "key"), "plan key")])
def test_a_record_of_another_wheel_is_found(tmp_path, published, wheel, keys, words):
    path = beside(tmp_path, wheel, ".record.json")
    record = json.loads(path.read_bytes())
    record[keys[0]][keys[1]] = "9" * 64
    path.write_text(json.dumps(record))
    write_sums(tmp_path, published)
    said = faults(tmp_path)
    assert any(f".record.json has {'9' * 64} as {words}" in one for one in said)
    assert any("does not name the record with sha256" in one for one in said)


def test_a_provenance_of_another_wheel_is_found(tmp_path, published, wheel):
    path = beside(tmp_path, wheel, ".provenance.json")
    path.write_bytes(path.read_bytes().replace(wheel.sha256.encode(), b"9" * 64))
    write_sums(tmp_path, published)
    [fault] = faults(tmp_path)
    assert f".provenance.json has no subject {wheel.file} with sha256 {wheel.sha256}" in fault


@pytest.mark.parametrize("content", ["", "[]", '{"_type": 5}', "[" * 100_000])
def test_a_provenance_of_another_shape_is_found(tmp_path, published, wheel, content):
    beside(tmp_path, wheel, ".provenance.json").write_text(content)
    write_sums(tmp_path, published)
    [fault] = faults(tmp_path)
    assert ".provenance.json is not a statement" in fault


def test_a_hidden_wheel_may_be_missing_once_the_sums_omit_it(tmp_path, wheel):
    hidden = add_wheel(tmp_path, version="0.9", hidden="2026-11-25T03:00:00+00:00")
    published = make_site(tmp_path, wheel, hidden)
    assert check(tmp_path).wheels == 1
    shutil.rmtree(tmp_path / hidden.folder)
    assert f"{hidden.folder}{hidden.file}: is missing" in faults(tmp_path)
    (tmp_path / hidden.folder).mkdir()
    write_sums(tmp_path, published)
    assert check(tmp_path).wheels == 1


def test_a_set_that_changed_during_the_check_is_to_be_checked_again(tmp_path, published, wheel):
    other = make_set(wheel, made="2026-11-26T03:15:00+00:00")

    def swap(done, _total, _unit):
        if done == 1:
            (tmp_path / "current.json").write_text(json.dumps({"set": other.id}))

    (tmp_path / published.id / "simple/index.html").unlink()
    with fails(PublishError, naming=tmp_path):
        check(tmp_path, progress=swap)


def test_a_file_that_cant_be_read_is_a_fault(tmp_path, published):
    (tmp_path / published.id / "index.html").unlink()
    (tmp_path / published.id / "index.html").mkdir()
    assert faults(tmp_path) == [f"{published.id}/index.html: can't be read: Is a directory"]


@pytest.mark.usefixtures("published")
def test_a_file_that_a_server_refuses_is_a_fault(tmp_path):
    class Refusing:
        def download(self, url, to, _progress):
            path = tmp_path / url.removeprefix("https://pi.example/pi/")
            if path.name == "index.html":
                raise SourceError("pi.example answers 403 Forbidden")
            if not path.is_file():
                raise SourceError("pi.example answers 404 Not Found")
            shutil.copyfile(path, to)
            return sha256(to.read_bytes()).hexdigest()

    with pytest.raises(PublishError) as caught:
        check_site("https://pi.example/pi/", Refusing(), now=NOW)
    assert len(caught.value.details) == 4
    assert all(one.endswith("index.html: pi.example answers 403 Forbidden") for one in caught.value.details)
