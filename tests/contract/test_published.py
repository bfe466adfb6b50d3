"""Published sites and real readers: the check over HTTP, pip, another reader of PEP 691, and OpenSSL."""

import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime

import pypi_simple
import pytest

from pibuild.errors import PublishError, UsageError
from pibuild.publishing.check import check_site
from pibuild.signing.key_files import load_key, load_public_key, public_pem
from tests.failures import fails
from tests.fakes.servers import served
from tests.makers.sites import add_wheel, make_site

NOW = datetime(2026, 11, 26, tzinfo=UTC)
OPENSSL = shutil.which("openssl")


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


def pip_download(url, to, *words):
    """Let real pip fetch a wheel for a Pi, as a user would; return the names of what it got, and what it said."""
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "--no-cache-dir"]
    command += ["-v", "--no-deps", "--index-url", url, "--only-binary", ":all:", "--platform", "linux_armv6l"]
    command += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--dest", str(to), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return sorted(path.name for path in to.glob("*")), done.stdout + done.stderr


def two_wheels(site):
    """A yanked wheel that is newer than the good one, and one for another Pi."""
    good = add_wheel(site, version="1.0", requires_python=">=3.9")
    add = add_wheel(site, version="2.0", yanked="crashes on <Zero>"), add_wheel(site, version="1.0", target="pi-two")
    return good, make_site(site, good, *add)


def test_a_whole_site_is_whole_over_http(site, http):
    key_path = site.parent / "pibuild.key"
    subprocess.run([OPENSSL, "genpkey", "-algorithm", "ed25519", "-out", key_path], check=True, capture_output=True)
    key = load_key(key_path)
    wheels = [add_wheel(site, version=version) for version in ("1.0+g1", "2.0")]
    published = make_site(site, *wheels, key=key)
    with served(site) as url:
        found = check_site(url, http, now=NOW, public_key=key.public_key())
    assert (found.set_id, found.wheels) == (published.id, 2)


def test_all_damage_behind_a_server_is_reported_at_once(site, http):
    wheel = add_wheel(site)
    published = make_site(site, wheel)
    (site / wheel.folder / wheel.file).write_bytes(b"altered")
    (site / wheel.folder / f"{wheel.file}.record.json").unlink()
    (site / published.id / "simple/index.json").unlink()
    with served(site) as url, pytest.raises(PublishError) as caught:
        check_site(url, http, now=NOW)
    said = str(caught.value)
    assert f"{wheel.file}: has sha256" in said
    assert f"{wheel.file}.record.json: 127.0.0.1 answers 404" in said
    assert f"{published.id}/simple/index.json: 127.0.0.1 answers 404" in said


def test_an_unreachable_server_is_named(site, http):
    with served(site) as url:
        pass
    with fails(PublishError, naming="127.0.0.1"):
        check_site(url, http, now=NOW)


@pytest.mark.parametrize("negotiates", [False, True], ids=["html", "json"])
@pytest.mark.parametrize("folder", ["current", "set"])
def test_pip_takes_the_wheel_that_is_not_yanked(site, tmp_path, negotiates, folder):
    good, published = two_wheels(site)
    at = "current" if folder == "current" else published.id
    with served(site, negotiates=negotiates) as url:
        got, said = pip_download(f"{url}/{at}/simple/", tmp_path / "got", "thing")
    assert got == [good.file], said
    with zipfile.ZipFile(tmp_path / "got" / good.file) as wheel:
        assert wheel.testzip() is None


def test_pip_takes_a_yanked_wheel_by_its_exact_version_with_the_reason(site, tmp_path):
    two_wheels(site)
    with served(site) as url:
        got, said = pip_download(f"{url}/current/simple/", tmp_path / "got", "thing==2.0")
    assert got == ["thing-2.0-cp311-cp311-linux_armv6l.whl"]
    assert "crashes on <Zero>" in said


def test_pip_ignores_a_wheel_for_other_pythons(site, tmp_path):
    make_site(site, add_wheel(site, version="1.0"), add_wheel(site, version="2.0", requires_python="<3.11"))
    with served(site) as url:
        got, said = pip_download(f"{url}/current/simple/", tmp_path / "got", "thing")
    assert got == ["thing-1.0-cp311-cp311-linux_armv6l.whl"], said


@pytest.mark.parametrize("negotiates", [False, True], ids=["html", "json"])
def test_pip_reads_the_metadata_beside_the_wheel(site, tmp_path, negotiates):
    good, _ = two_wheels(site)
    with served(site, negotiates=negotiates) as url:
        _, said = pip_download(f"{url}/current/simple/", tmp_path / "got", "thing")
    assert f"{good.file}.metadata" in said


def test_pip_refuses_a_wheel_that_is_not_what_the_index_says(site, tmp_path):
    wheel = add_wheel(site)
    make_site(site, wheel)
    (site / wheel.folder / wheel.file).write_bytes(b"altered")
    with served(site) as url:
        got, said = pip_download(f"{url}/current/simple/", tmp_path / "got", "thing")
    assert got == []
    assert "HASH" in said.upper()


def test_another_reader_of_the_json_finds_all_that_the_set_says(site):
    good, _ = two_wheels(site)
    with served(site, negotiates=True) as url, pypi_simple.PyPISimple(f"{url}/current/simple/") as client:
        accept = pypi_simple.ACCEPT_JSON_ONLY
        assert client.get_index_page(accept=accept).projects == ["thing"]
        page = client.get_project_page("Thing", accept=accept)
        packages = {one.filename: one for one in page.packages}
        content = client.get_package_metadata_bytes(packages[good.file])
    assert page.repository_version == "1.1"
    assert page.versions == ["1.0", "2.0"]
    found = packages[good.file]
    assert (found.size, found.digests, found.requires_python) == (good.size_bytes, {"sha256": good.sha256}, ">=3.9")
    assert found.upload_time.isoformat() == good.made
    assert found.metadata_digests == {"sha256": good.metadata_sha256}
    assert b"Requires-Python: >=3.9" in content
    yanked = packages["thing-2.0-cp311-cp311-linux_armv6l.whl"]
    assert (yanked.is_yanked, yanked.yanked_reason) == (True, "crashes on <Zero>")


def test_another_reader_of_the_html_finds_the_same(site):
    good, _ = two_wheels(site)
    with served(site) as url, pypi_simple.PyPISimple(f"{url}/current/simple/") as client:
        page = client.get_project_page("thing")
    assert page.repository_version == "1.0"
    [found] = [one for one in page.packages if one.filename == good.file]
    assert found.digests == {"sha256": good.sha256}
    assert found.metadata_digests == {"sha256": good.metadata_sha256}
    assert found.url == f"{url}/{good.folder}{good.file}"


def openssl_verifies(folder, public):
    """Run the command that people are told to run."""
    command = [OPENSSL, "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    command += ["-in", "SHA256SUMS", "-sigfile", "SHA256SUMS.sig"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_openssl_and_sha256sum_verify_a_set_with_a_key_that_openssl_made(site):
    key, public = site.parent / "pibuild.key", site.parent / "pibuild.pub"
    subprocess.run([OPENSSL, "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    subprocess.run([OPENSSL, "pkey", "-in", key, "-pubout", "-out", public], check=True)
    published = make_site(site, key=load_key(key))
    assert load_public_key(public) == load_key(key).public_key()
    assert public.read_bytes() == public_pem(load_key(key))
    folder = site / "current"
    assert openssl_verifies(folder, public).returncode == 0
    assert "Verified Successfully" in openssl_verifies(folder, public).stdout
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=site / published.id, check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_openssl_rejects_changed_sums(site):
    key, public = site.parent / "pibuild.key", site.parent / "pibuild.pub"
    subprocess.run([OPENSSL, "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    public.write_bytes(public_pem(load_key(key)))
    make_site(site, key=load_key(key))
    with (site / "current/SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  index.html\n")
    assert openssl_verifies(site / "current", public).returncode != 0


def test_a_key_of_openssl_that_cant_sign_is_rejected(tmp_path):
    key = tmp_path / "pibuild.key"
    for words in (
        ["genpkey", "-algorithm", "x25519"],
        ["genpkey", "-algorithm", "rsa"],
        ["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x"],
    ):
        subprocess.run([OPENSSL, *words, "-out", key], check=True, capture_output=True)
        with fails(UsageError, naming=key):
            load_key(key)
