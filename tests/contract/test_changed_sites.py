"""A signed site that somebody without the key has changed: what a reader with the public key is told."""

import contextlib
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.commands.main import main
from pibuild.errors import PublishError, UsageError
from pibuild.publishing.check import check_site
from pibuild.publishing.provenance import signed_provenance
from pibuild.signing.key_files import public_pem
from tests.failures import fails
from tests.fakes.servers import AnswerServer, FolderRequest, running, served
from tests.fakes.sources import NoWeb
from tests.makers.sites import add_wheel, make_site, point, write_sums

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def state(tmp_path):
    return tmp_path / "seen.json"


def check(site, **more):
    return check_site(str(site), NoWeb(), **{"now": NOW, "public_key": PUBLIC} | more)


def faults(site, **more):
    with pytest.raises(PublishError) as caught:
        check(site, **more)
    return "\n".join([caught.value.what, *caught.value.details])


def two_sets(site):
    """Sign two sets; return what an attacker has copied of the first one, and both sets."""
    first = make_site(site, add_wheel(site), key=KEY)
    old = site.parent / "old"
    shutil.copytree(site, old, symlinks=True)
    second = make_site(site, add_wheel(site), add_wheel(site, version="1.1"), key=KEY, made="2026-11-25T09:15:00+00:00")
    return old, first, second


def put_back(site, old):
    """Serve the first set again, as whole as it was."""
    shutil.rmtree(site)
    shutil.copytree(old, site, symlinks=True)


def test_a_rolled_back_set_with_its_own_signature_is_refused(site, state):
    old, _, second = two_sets(site)
    assert check(site, state_path=state).set_id == second.id
    put_back(site, old)
    said = faults(site, state_path=state)
    assert "current.json: has the number 20261125031500, but 20261125091500 was seen before" in said
    assert "older state of the site" in said


def test_a_rolled_back_set_is_refused_behind_a_server(site, state, http):
    old, _, _ = two_sets(site)
    with served(site) as url:
        check_site(url, http, now=NOW, public_key=PUBLIC, state_path=state)
        put_back(site, old)
        with fails(PublishError, naming="20261125091500 was seen before"):
            check_site(url, http, now=NOW, public_key=PUBLIC, state_path=state)


def test_an_older_set_under_the_newest_pointer_is_refused(site):
    _, first, second = two_sets(site)
    (site / "current").unlink()
    (site / "current").symlink_to(first.id)
    assert f"current/SHA256SUMS: is of another set than {second.id}" in faults(site)
    shutil.rmtree(site / second.id)
    (site / first.id).rename(site / second.id)
    (site / "current").unlink()
    (site / "current").symlink_to(second.id)
    assert "current.json says " in faults(site)


def test_an_older_set_without_links_under_the_newest_pointer_is_refused(site):
    _, first, second = two_sets(site)
    (site / "current").unlink()
    shutil.copytree(site / first.id, site / "current")
    assert f"current/SHA256SUMS: is of another set than {second.id}" in faults(site)


@pytest.mark.parametrize("served_by", ["folder", "server"])
def test_an_expired_set_is_refused(site, http, served_by):
    make_site(site, key=KEY)
    late = NOW + timedelta(days=7)
    if served_by == "folder":
        said = faults(site, now=late)
    else:
        with served(site) as url, pytest.raises(PublishError) as caught:
            check_site(url, http, now=late, public_key=PUBLIC)
        said = str(caught.value)
    assert "expired at 2026-12-02T03:15:00Z" in said
    assert "the clock of this machine says 2026-12-03T00:00:00Z" in said


def test_a_clock_that_is_behind_is_told(site):
    make_site(site, key=KEY)
    said = faults(site, now=NOW - timedelta(days=300))
    assert "was made at 2026-11-25T03:15:00Z, and the clock of this machine says 2026-01-30T00:00:00Z" in said
    assert "this clock is behind" in said


def test_clocks_that_differ_by_minutes_are_no_fault(site):
    make_site(site, key=KEY)
    assert check(site, now=datetime(2026, 11, 25, 3, 6, tzinfo=UTC))


PROJECT = '<a href="../../../files/ev/il/numpy-9-py3-none-any.whl">numpy-9-py3-none-any.whl</a>'


@pytest.mark.parametrize("place", ["current", "set"])
def test_an_added_project_is_refused(site, place):
    published = make_site(site, key=KEY)
    (site / "current").unlink()
    shutil.copytree(site / published.id, site / "current")
    folder = site / (published.id if place == "set" else "current") / "simple/numpy"
    folder.mkdir()
    (folder / "index.html").write_text(PROJECT)
    path = folder.relative_to(site) / "index.html"
    assert f"{path}: is not in the signed list of a set" in faults(site)


@pytest.mark.parametrize("page", ["index.html", "index.json"])
@pytest.mark.parametrize("place", ["current", "set"])
def test_an_added_project_that_a_wheel_needs_is_refused_behind_a_server(site, http, page, place):
    """pip would take it for the dependency of a wheel that is the publisher's."""
    wheel = add_wheel(site, requires=("NumPy>=1; python_version > '3'", "six", "not a requirement ("))
    published = make_site(site, wheel, add_wheel(site, name="six"), key=KEY)
    (site / "current").unlink()
    shutil.copytree(site / published.id, site / "current")
    with served(site) as url:
        assert check_site(url, http, now=NOW, public_key=PUBLIC).wheels == 2
        folder = site / (published.id if place == "set" else "current") / "simple/numpy"
        folder.mkdir()
        (folder / page).write_text(PROJECT)
        with fails(PublishError, naming=("simple/numpy/", "is not in the signed list")):
            check_site(url, http, now=NOW, public_key=PUBLIC)


@pytest.mark.parametrize(
    "name", ["evil.html", "files/ab/evil.whl", "simple/numpy/index.html", ".well-known/x", "20261125T120000Z-0000000/a"]
)
def test_an_added_file_is_refused(site, name):
    make_site(site, key=KEY)
    (site / name).parent.mkdir(parents=True, exist_ok=True)
    (site / name).write_text("evil")
    assert f"{name}: is not in the signed list of a set" in faults(site)


def test_an_added_link_is_refused(site):
    make_site(site, key=KEY)
    (site / "latest").symlink_to("current")
    assert "latest: is not in the signed list of a set" in faults(site)


def test_a_file_without_an_end_does_not_fill_the_disk_of_a_reader(http, monkeypatch, tmp_path):
    def flood(request):
        request.send_response(200)
        request.end_headers()
        request.close_connection = True
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                request.wfile.write(bytes(1 << 20))

    monkeypatch.setattr("pibuild.publishing.site_reader._MOST_TEXT_BYTES", 5_000_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with running(AnswerServer()) as server:
        server.answers = [flood]
        with fails(PublishError, naming="is too large"):
            check_site(server.url, http, now=NOW, public_key=PUBLIC)


def test_a_folder_that_cant_be_listed_is_refused(site, monkeypatch):
    """A web server opens files in it all the same."""
    published = make_site(site, add_wheel(site), key=KEY)
    added = site / published.id / "simple" / "added"
    added.mkdir()
    (added / "index.html").write_text("<a href=added-1.0-py3-none-any.whl>added</a>")
    monkeypatch.chdir(site)  # a user other than root may not pass the folders above
    user = os.geteuid()
    added.chmod(0o711 if user == 0 else 0o311)
    os.seteuid(user or 65534)
    try:
        said = faults(".")
    finally:
        os.seteuid(user)
        added.chmod(0o755)
    assert f"{published.id}/simple/added: can't be listed: Permission denied" in said


def test_a_file_in_place_of_the_current_set_is_refused(site):
    make_site(site, add_wheel(site), key=KEY)
    (site / "current").unlink()
    (site / "current").write_text("")
    assert "current: is not in the signed list of a set" in faults(site)


def test_a_set_that_another_key_has_signed_is_refused_beside_the_current_one(site):
    other = make_site(site, add_wheel(site, version="6.6"), key=OTHER, made="2026-11-24T03:15:00+00:00")
    make_site(site, add_wheel(site), key=KEY)
    assert f"{other.id}/SHA256SUMS.sig: is not this key's signature" in faults(site)


def test_a_changed_wheel_of_an_earlier_set_is_refused(site):
    wheel = add_wheel(site, version="0.9")
    first = make_site(site, wheel, key=KEY)
    make_site(site, add_wheel(site), key=KEY, made="2026-11-25T09:15:00+00:00")
    check(site)
    (site / wheel.paths[0]).write_bytes(b"another wheel")
    assert f"{wheel.paths[0]}: is not as the set {first.id} lists it" in faults(site)


def test_a_changed_page_of_an_earlier_set_is_refused(site):
    _, first, _ = two_sets(site)
    assert check(site)
    (site / first.id / "simple/thing/index.html").write_text(PROJECT)
    assert f"{first.id}/simple/thing/index.html: is missing, or is not as the set {first.id} lists it" in faults(site)


@pytest.mark.parametrize("served_by", ["folder", "server"])
def test_a_changed_front_door_is_refused(site, http, served_by):
    make_site(site, key=KEY)
    (site / "index.html").write_text('<a href="https://evil.example/">wheels</a>')
    if served_by == "folder":
        said = faults(site)
    else:
        with served(site) as url, pytest.raises(PublishError) as caught:
            check_site(url, http, now=NOW, public_key=PUBLIC)
        said = str(caught.value)
    assert "index.html: has sha256" in said


@pytest.mark.parametrize("folder", ["", "current/", "current/simple/", "current/simple/thing/", "SET/simple/thing/"])
def test_another_answer_for_a_folder_is_refused(site, http, folder):
    """pip asks for folders. A server may prefer other files there, or have been told what to answer."""
    published = make_site(site, add_wheel(site), key=KEY)
    asked = f"/{folder.replace('SET', published.id)}"

    class OtherRequest(FolderRequest):
        def send_head(self):
            if self.path == asked:
                self.path += "index.htm"
            return super().send_head()

    request = partial(OtherRequest, directory=str(site), negotiates=False)
    with running(ThreadingHTTPServer(("127.0.0.1", 0), request)) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        assert check_site(url, http, now=NOW, public_key=PUBLIC).set_id == published.id  # without an answer
        (site / asked[1:] / "index.htm").write_text("<a href=thing-9-py3-none-any.whl>thing</a>")
        with fails(PublishError, naming="is another page than its index.html"):
            check_site(url, http, now=NOW, public_key=PUBLIC)


def test_a_front_door_that_is_missing_is_refused(site):
    make_site(site, key=KEY)
    (site / "index.html").unlink()
    assert "index.html: is missing" in faults(site)


def test_a_site_of_another_key_is_refused(site):
    make_site(site, key=OTHER)
    said = faults(site)
    assert "current.json: is not signed by this key" in said
    assert "SHA256SUMS.sig: is not this key's signature" in said
    assert ".intoto.jsonl is not signed by this key" in said


def test_a_pointer_of_another_key_is_refused(site):
    published = make_site(site, key=KEY)
    point(site, published.id, key=OTHER)
    assert faults(site).splitlines()[1:] == ["current.json: is not signed by this key"]


def test_a_pointer_without_a_signature_is_refused_with_a_key(site):
    published = make_site(site, key=KEY)
    for content in (json.dumps({"set": published.id}), None):
        point(site, published.id)
        if content:
            (site / "current.json").write_text(content)
        assert "current.json: is not signed" in faults(site)
        assert check(site, public_key=None).set_id == published.id


def test_signed_provenance_that_is_missing_or_of_another_wheel_is_refused(site):
    one, two = add_wheel(site), add_wheel(site, version="1.1")
    make_site(site, one, two, key=KEY)
    envelope = (site / two.signed_provenance).read_bytes()
    (site / one.signed_provenance).write_bytes(envelope)
    assert ".intoto.jsonl is not an envelope of .provenance.json" in faults(site)
    (site / one.signed_provenance).unlink()
    assert f"{one.signed_provenance}: is missing" in faults(site)


def test_provenance_that_another_key_has_signed_is_refused_in_a_signed_set(site):
    wheel = add_wheel(site)
    published = make_site(site, wheel, key=KEY)
    statement = (site / f"{wheel.paths[0]}.provenance.json").read_bytes()
    (site / wheel.signed_provenance).write_bytes(signed_provenance(statement, OTHER))
    write_sums(site, published, key=KEY)
    assert ".intoto.jsonl is not signed by this key" in faults(site)


def test_a_signed_set_without_signed_provenance_is_refused(site):
    wheel = add_wheel(site)
    published = make_site(site, wheel, key=KEY)
    (site / wheel.signed_provenance).unlink()
    write_sums(site, published, key=KEY)
    assert f"does not list ../{wheel.signed_provenance}" in faults(site)


# The state of a reader


def test_the_state_grows_with_the_site_and_does_not_shrink(site, state):
    old, first, second = two_sets(site)
    new = site.parent / "new"
    shutil.copytree(site, new, symlinks=True)
    put_back(site, old)
    assert check(site, state_path=state).number == 20261125031500
    assert json.loads(state.read_text())["set"] == first.id
    put_back(site, new)
    check(site, state_path=state)
    before = state.read_bytes()
    assert json.loads(before)["set"] == second.id
    put_back(site, old)
    faults(site, state_path=state)
    assert state.read_bytes() == before


def test_another_set_with_the_same_number_is_refused(site, state):
    _, _, second = two_sets(site)
    check(site, state_path=state)
    point(site, second.id, key=KEY, number=20261125091500, sums_sha256="0" * 64)
    assert "as another set had that was seen before" in faults(site, state_path=state)


def test_a_site_with_faults_leaves_the_state_as_it_was(site, state):
    make_site(site, key=KEY)
    (site / "index.html").write_text("changed")
    faults(site, state_path=state)
    assert not state.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"number": "5"}', '{"number": 5}', "\x00", "[" * 100_000])
def test_a_damaged_state_says_what_to_do(site, state, content):
    make_site(site, key=KEY)
    state.write_text(content)
    with fails(UsageError, naming=(state, "backup", "remove the file")):
        check(site, state_path=state)
    assert state.read_text() == content


def test_a_state_that_cant_be_written_is_named(site, tmp_path):
    make_site(site, key=KEY)
    with fails(PublishError, naming="--state"):
        check(site, state_path=Path("/proc/seen.json"))
    with fails(UsageError, naming=tmp_path):
        check(site, state_path=tmp_path)


# The command


@pytest.fixture
def pem(tmp_path):
    path = tmp_path / "pibuild.pub"
    path.write_bytes(public_pem(KEY))
    return str(path)


def make_new_site(site):
    """A site that is valid now."""
    now = datetime.now(UTC)
    published = make_site(site, key=KEY)
    times = {name: f"{now + days:%Y-%m-%dT%H:%M:%SZ}" for name, days in (("made", timedelta()), ("expires", WEEK))}
    point(site, published.id, key=KEY, **times)


WEEK = timedelta(days=7)


def test_without_a_key_the_command_says_that_only_hashes_were_checked(site, pem, capsys):
    make_new_site(site)
    assert main(["publish", "check", str(site)]) == 0
    assert "hashes only; its signature was not checked" in capsys.readouterr().out
    assert main(["publish", "check", str(site), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["is_signed"], facts["checked"][:11]) == (False, "hashes only")
    assert main(["publish", "check", str(site), "--public-key", pem]) == 0
    said = capsys.readouterr().out
    assert "hashes only" not in said
    assert "signed by this key, valid until" in said


def test_the_command_remembers_the_number_and_refuses_an_older_one(site, pem, state, capsys):
    make_new_site(site)
    words = ["publish", "check", str(site), "--public-key", pem, "--state", str(state)]
    assert main(words) == main(words) == 0
    facts = json.loads(state.read_text())
    state.write_text(json.dumps(facts | {"number": facts["number"] + 1}))
    assert main(words) == 12
    assert "was seen before" in capsys.readouterr().err
    assert main([*words[:3], "--state", str(state)]) == 2
    assert "--public-key" in capsys.readouterr().err
