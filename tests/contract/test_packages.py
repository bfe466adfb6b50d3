"""The real pip, npm and apt: against files and a server of our own, and against this machine's registries.

Where a registry is not reachable, its test is skipped.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from urllib.parse import unquote

import pytest

from pibuild.adapters.debian import Debian
from pibuild.adapters.http import Http
from pibuild.adapters.npm import Npm
from pibuild.adapters.pypi import Pypi
from pibuild.errors import SourceError, UnreachableError
from pibuild.model import DebianPlace, NpmPlace, PypiPlace
from tests.failures import fails
from tests.fakes.servers import free_port, served
from tests.fakes.sources import PoolLess
from tests.makers.archives import make_tar
from tests.requirements import needs, reachable, reason

ROOT = Path(__file__).resolve().parents[2]
CONTENT = make_tar({"thing-1.0/setup.py": b"raise SystemExit('this must never run')"}, "gz")
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = PypiPlace(pypi="Some.Thing", version="1.0", file="some_thing-1.0.tar.gz", sha256=SHA256)

SIX = PypiPlace(
    pypi="six",
    version="1.16.0",
    file="six-1.16.0.tar.gz",
    sha256="1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926",
)
SIX_WHEEL = PypiPlace(
    pypi="six",
    version="1.16.0",
    file="six-1.16.0-py2.py3-none-any.whl",
    sha256="8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254",
)
IS_NUMBER = NpmPlace(
    npm="is-number", version="7.0.0", sha256="7b75c1057198cf97696909a9bee176c9c5e9bcb5b03bf3ecef2f484defadd51e"
)
FXDIV = DebianPlace(
    debian="fxdiv",
    suite="bookworm",
    file="fxdiv_0.0~git20200417.b408327.orig.tar.xz",
    sha256="7953482badaf4cb34026c3487c257b8e4ab2df061c019bd6fabbbc12ad52c44b",
)


def ignore(_done, _total, _unit):
    pass


@pytest.fixture
def said():
    return []


@pytest.fixture
def http(said):
    http = Http({}, note=said.append, sleep=lambda _s: None)
    yield http
    http.close()


@pytest.fixture
def part(tmp_path):
    return tmp_path / "file.part"


@pytest.fixture
def reached():
    """Run what needs a registry; skip where it is not reachable."""

    def reached(action, *words):
        with reachable():
            return action(*words)

    return reached


@pytest.fixture
def site(tmp_path):
    """Serve a folder; return it and its URL."""
    folder = tmp_path / "site"
    folder.mkdir()

    with served(folder) as url:
        yield folder, url


# pip


def pip_environ(tmp_path, **variables):
    """Return an environment in which pip knows what these variables say and nothing else."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    } | variables


def make_index(folder, content=CONTENT, sha256=SHA256):
    """Make a simple index with one package below a folder."""
    (folder / "simple/some-thing").mkdir(parents=True)
    (folder / "files").mkdir()
    (folder / "files" / PLACE.file).write_bytes(content)
    fragment = f"#sha256={sha256}" if sha256 else ""
    (folder / "simple/some-thing/index.html").write_text(
        f'<a href="../../files/{PLACE.file}{fragment}">{PLACE.file}</a>'
    )


def test_a_source_archive_comes_from_pips_index_and_is_never_run(http, part, site, tmp_path):
    make_index(site[0])
    pypi = Pypi(http, pip_environ(tmp_path, PIP_INDEX_URL=f"{site[1]}/simple"))

    assert pypi.download(PLACE, part, ignore) == SHA256
    assert part.read_bytes() == CONTENT


def test_pips_configuration_file_is_read(http, part, site, tmp_path):
    make_index(site[0])
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {site[1]}/simple/\n")
    pypi = Pypi(http, pip_environ(tmp_path, PIP_CONFIG_FILE=str(tmp_path / "pip.conf")))

    assert pypi.download(PLACE, part, ignore) == SHA256


def test_an_extra_index_is_asked_when_the_first_lacks_the_file(http, part, site, tmp_path):
    make_index(site[0] / "extra")
    environ = pip_environ(
        tmp_path, PIP_INDEX_URL=f"{site[1]}/simple", PIP_EXTRA_INDEX_URL=f"{site[1]}/none {site[1]}/extra/simple"
    )

    assert Pypi(http, environ).download(PLACE, part, ignore) == SHA256


def test_an_index_in_a_folder_can_be_used(http, part, tmp_path):
    make_index(tmp_path / "index")
    pypi = Pypi(http, pip_environ(tmp_path, PIP_INDEX_URL=(tmp_path / "index/simple").as_uri()))

    assert pypi.download(PLACE, part, ignore) == SHA256


def test_pips_find_links_folder_can_be_used(http, part, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / PLACE.file).write_bytes(CONTENT)
    pypi = Pypi(http, pip_environ(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "files")))

    assert pypi.download(PLACE, part, ignore) == SHA256


def test_a_wrong_hash_in_the_index_is_rejected_before_the_download(http, part, site, tmp_path):
    make_index(site[0], sha256="0" * 64)

    with fails(SourceError, naming="some-thing") as caught:
        Pypi(http, pip_environ(tmp_path, PIP_INDEX_URL=f"{site[1]}/simple")).download(PLACE, part, ignore)
    assert caught.value.expected == f"sha256 {SHA256}"
    assert f"lists it with sha256 {'0' * 64}" in caught.value.found
    assert not part.exists()


def test_a_package_that_no_index_has_is_rejected(http, part, site, tmp_path):
    with fails(SourceError, naming="127.0.0.1") as caught:
        Pypi(http, pip_environ(tmp_path, PIP_INDEX_URL=f"{site[1]}/simple")).download(PLACE, part, ignore)
    assert "127.0.0.1 answers 404" in caught.value.found


def test_an_index_that_is_not_there_is_unreachable(http, part, tmp_path):
    index = f"http://127.0.0.1:{free_port()}/simple"

    with fails(UnreachableError, naming="127.0.0.1"):
        Pypi(http, pip_environ(tmp_path, PIP_INDEX_URL=index)).download(PLACE, part, ignore)


def test_pip_gets_a_home_folder_if_the_user_has_none(http, part, site, tmp_path):
    folder, url = site
    make_index(folder)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ -n "$HOME" ] && exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    environ = pip_environ(tmp_path, PIP_INDEX_URL=f"{url}/simple", HOME="")

    assert Pypi(http, environ, python=str(python)).download(PLACE, part, ignore) == SHA256


def test_an_error_of_pip_is_shown_without_its_traceback(http, part, tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'raise RuntimeError(\"no cause\")'\n")
    python.chmod(0o755)
    with fails(SourceError, naming="RuntimeError: no cause") as caught:
        Pypi(http, pip_environ(tmp_path), python=str(python)).download(PLACE, part, ignore)
    assert "line 1" not in str(caught.value)
    assert "pip config list" in caught.value.hint


def test_without_pip_the_error_names_ensurepip(http, part, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)

    with fails(SourceError, naming="ensurepip") as caught:
        Pypi(http, pip_environ(tmp_path), python=str(tmp_path / "bare/bin/python")).download(PLACE, part, ignore)
    assert "No module named pip" in caught.value.found
    assert caught.value.hint == "python3 -m ensurepip"


@pytest.mark.parametrize("place", [SIX, SIX_WHEEL], ids=lambda place: place.file)
def test_the_users_own_index_serves_a_file_as_it_was_uploaded(http, part, reached, place):
    assert reached(Pypi(http, dict(os.environ)).download, place, part, ignore) == place.sha256


# npm


@needs("npm")
def test_the_users_own_npm_serves_a_tarball_as_it_was_published(part, reached):
    assert reached(Npm(dict(os.environ)).download, IS_NUMBER, part, ignore) == IS_NUMBER.sha256
    with tarfile.open(part) as tar:
        assert "package/package.json" in tar.getnames()


def npm_environ(tmp_path, registry):
    settings = {"npm_config_registry": registry, "npm_config_fetch_retries": "0"}
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | settings


@needs("npm")
def test_a_package_that_npm_does_not_know_is_rejected(part, site, tmp_path):
    with fails(SourceError, naming="is-number 7.0.0") as caught:
        Npm(npm_environ(tmp_path, site[1])).download(IS_NUMBER, part, ignore)
    assert "404" in caught.value.found


@needs("npm")
def test_a_registry_of_npm_that_is_not_there_is_unreachable(part, tmp_path):
    address = f"127.0.0.1:{free_port()}"

    with fails(UnreachableError, naming=f"ECONNREFUSED {address}") as caught:
        Npm(npm_environ(tmp_path, f"http://{address}")).download(IS_NUMBER, part, ignore)
    assert "npm config list" in caught.value.hint


@needs("npm")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without a name")
def test_npm_works_for_a_user_without_a_home_folder(tmp_path):
    settings = npm_environ(tmp_path, f"http://127.0.0.1:{free_port()}")
    del settings["HOME"]
    code = f"import os; from pibuild.adapters.npm import Npm; os.setuid(4242); Npm({settings!r}).check()"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert "UnreachableError" in ended.stderr
    assert "ECONNREFUSED" in ended.stderr


def test_without_npm_the_error_names_the_package(part, tmp_path):
    with fails(SourceError, naming="apt-get install npm") as caught:
        Npm({"PATH": str(tmp_path)}).download(IS_NUMBER, part, ignore)
    assert "apt-get install npm" in caught.value.hint


# apt

needs_apt = needs("apt-get")


@pytest.fixture
def make_debian(http, tmp_path, said):
    def make(environ=None, http=http):
        return Debian(http, environ or dict(os.environ), state_dir=tmp_path / "apt", note=said.append)

    return make


def apt_environ(tmp_path, sources, name="sources.list", settings=""):
    """Return an environment in which apt has these sources and nothing else."""
    (tmp_path / "etc/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc" / name).write_text(sources)
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc "{tmp_path}/etc";\nDir::Etc::parts "none";\nDir::Etc::main "none";\n{settings}\n'
    )
    return {"PATH": os.environ["PATH"], "APT_CONFIG": str(tmp_path / "apt.conf")}


def make_pool(folder, path=f"pool/main/f/fxdiv/{FXDIV.file}", content=CONTENT):
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(content)


@needs_apt
def test_the_mirror_of_a_one_line_source_serves_from_its_pool(make_debian, site, part, tmp_path):
    make_pool(site[0] / "debian")
    environ = apt_environ(tmp_path, f"deb {site[1]}/debian bookworm main\n")

    assert make_debian(environ).download(FXDIV, part, ignore) == SHA256


@needs_apt
def test_the_mirror_of_a_deb822_source_serves_from_its_pool(make_debian, site, part, tmp_path):
    make_pool(site[0] / "debian")
    written = f"Types: deb\nURIs: {site[1]}/debian/\nSuites: bookworm bookworm-updates\nComponents: main\n"
    environ = apt_environ(tmp_path, written, name="sources.list.d/debian.sources")

    assert make_debian(environ).download(FXDIV, part, ignore) == SHA256


@needs_apt
def test_a_mirror_file_of_apt_is_read(make_debian, site, part, tmp_path):
    make_pool(site[0] / "debian")
    (tmp_path / "mirrors").write_text(f"# near\n{site[1]}/debian\n")
    environ = apt_environ(tmp_path, f"deb mirror+file:{tmp_path}/mirrors bookworm main\n")

    assert make_debian(environ).download(FXDIV, part, ignore) == SHA256


@needs_apt
def test_a_proxy_that_is_set_up_for_apt_is_used(make_debian, site, part, tmp_path):
    make_pool(site[0] / "debian")
    seen = []

    class Recording:
        def download(self, url, _to, _progress, route):
            seen.append((url, route.proxies))
            return SHA256

    environ = apt_environ(
        tmp_path,
        "deb http://mirror.invalid/debian sid main\n",
        settings='Acquire::http::Proxy "http://proxy.invalid:3142";',
    )
    make_debian(environ, http=Recording()).download(FXDIV, part, ignore)

    address = "http://mirror.invalid/debian/pool/main/f/fxdiv/fxdiv_0.0~git20200417.b408327.orig.tar.xz"
    assert seen == [(address, {"http": "http://proxy.invalid:3142"})]


@needs_apt
def test_archives_of_others_and_of_security_are_not_asked(make_debian, site, part, tmp_path):
    make_pool(site[0] / "debian")
    sources = (
        "deb http://other.invalid/node nodistro main\n"
        "deb http://security.invalid/debian-security bookworm-security main\n"
        f"deb {site[1]}/debian bookworm main\n"
    )

    assert make_debian(apt_environ(tmp_path, sources)).download(FXDIV, part, ignore) == SHA256


@needs_apt
def test_a_mirror_that_is_not_there_is_unreachable(make_debian, part, tmp_path):
    with fails(UnreachableError, naming="mirror.invalid"):
        make_debian(apt_environ(tmp_path, "deb http://mirror.invalid/debian sid main\n")).download(FXDIV, part, ignore)


@needs_apt
def test_an_apt_without_a_debian_mirror_is_rejected(make_debian, part, tmp_path):
    with fails(SourceError, naming="Debian") as caught:
        make_debian(apt_environ(tmp_path, "")).download(FXDIV, part, ignore)
    assert "another place" in caught.value.hint


def test_without_apt_the_error_suggests_another_place(make_debian, part, tmp_path):
    with fails(SourceError, naming="apt-get") as caught:
        make_debian({"PATH": str(tmp_path)}).download(FXDIV, part, ignore)
    assert caught.value.hint == "use a Debian machine, or name another place for this source"


@needs_apt
def test_a_mirror_without_the_file_and_a_signed_index_is_rejected(make_debian, site, part, tmp_path, said):
    (site[0] / "debian/dists/bookworm").mkdir(parents=True)
    (site[0] / "debian/dists/bookworm/Release").write_text("Suite: bookworm\n")

    with fails(SourceError, naming="bookworm") as caught:
        make_debian(apt_environ(tmp_path, f"deb {site[1]}/debian bookworm main\n")).download(FXDIV, part, ignore)
    assert "127.0.0.1 answers 404" in caught.value.found
    assert "the index of bookworm" in caught.value.found
    assert said == ["  asking 127.0.0.1 for the index of bookworm"]


@needs_apt
def test_the_users_own_mirror_serves_a_file_from_its_pool(make_debian, part, reached):
    assert reached(make_debian().download, FXDIV, part, ignore) == FXDIV.sha256


@needs_apt
def test_the_signed_index_of_the_suite_gives_the_address_and_is_asked_once(make_debian, part, said):
    client = PoolLess(SHA256)
    debian = make_debian(http=client)
    moved_on = DebianPlace(debian="fxdiv", suite="bookworm", file="fxdiv_0.orig.tar.xz", sha256=SHA256)
    try:
        debian.download(FXDIV, part, ignore)
    except SourceError as error:
        pytest.skip(reason(str(error), "a machine whose apt reaches its mirrors"))
    debian.download(moved_on, part, ignore)

    folder = "/pool/main/f/fxdiv/"
    assert unquote(client.asked[1]).endswith(folder + FXDIV.file)
    assert client.asked[3].endswith(folder + "fxdiv_0.orig.tar.xz")
    assert sum("for the index of bookworm" in line for line in said) == 1
    assert any("bookworm now has fxdiv_0.0~git20200417.b408327.orig.tar.xz" in line for line in said)
