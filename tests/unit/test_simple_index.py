"""Project pages of package indexes, in HTML and in JSON."""

import json

import pytest

from pibuild.adapters.simple_index import ListedFile, listed_files
from pibuild.errors import SourceError
from pibuild.publishing.index import index_pages
from tests.failures import fails
from tests.makers.sites import make_listed, make_set

URL = "https://example.org/simple/thing/"
JSON = "application/vnd.pypi.simple.v1+json"


def from_html(text):
    return listed_files(URL, "text/html", text.encode())


def from_json(*files):
    return listed_files(URL, JSON, json.dumps({"files": files}).encode())


def test_html_and_json_of_the_same_file_are_read_alike():
    html = '<a href="../../f/a-1.tar.gz#sha256=12" data-requires-python="&gt;=3.9" data-yanked="bad">a</a>'
    file = {"filename": "a-1.tar.gz", "url": "../../f/a-1.tar.gz", "hashes": {"sha256": "12"}}
    expected = ListedFile(url="https://example.org/f/a-1.tar.gz", hashes={"sha256": "12"})

    assert from_html(html) == {"a-1.tar.gz": expected}
    assert from_json(file | {"requires-python": ">=3.9", "yanked": "bad"}) == {"a-1.tar.gz": expected}


def test_a_file_without_a_hash_is_read():
    expected = {"a-1.tar.gz": ListedFile(url=f"{URL}a-1.tar.gz", hashes={})}

    assert from_html('<a name="top"></a><a href="a-1.tar.gz">a</a>') == expected
    assert from_json({"filename": "a-1.tar.gz", "url": "a-1.tar.gz", "hashes": {}, "yanked": False}) == expected


def test_the_name_of_a_file_in_html_is_unquoted_and_has_no_query():
    assert list(from_html('<a href="a-1%2Bg1.whl?token=5#sha256=12">a</a>')) == ["a-1+g1.whl"]


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"files": [{}]}', b'{"files": [5]}'])
def test_json_of_another_shape_is_a_source_error_with_the_host(content):
    with fails(SourceError, naming="example.org"):
        listed_files(URL, JSON, content)


@pytest.mark.parametrize("kind", ["html", "json"])
def test_the_published_index_is_read_as_it_was_meant(kind):
    wheel = make_listed(file="thing-1.0+g1-cp311-cp311-linux_armv6l.whl", requires_python=">=3.9", yanked="bad")
    page = index_pages(make_set(wheel))[f"simple/thing/index.{kind}"]
    files = listed_files("https://example.org/current/simple/thing/", f"text/{kind}", page)
    ((name, file),) = files.items()

    assert (name, file.hashes) == (wheel.file, {"sha256": wheel.sha256})
    assert file.url == f"https://example.org/{wheel.folder}{wheel.file.replace('+', '%2B')}"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/html", b'<a href="http://[">a</a>'),
        (JSON, b"[" * 100_000),
        (JSON, b'{"files": [{"filename": "a", "url": "http://[", "hashes": {}}]}'),
        (JSON, b'{"files": [{"filename": "a", "url": 5, "hashes": {}}]}'),
    ],
)
def test_a_page_with_what_is_no_address_is_a_source_error(kind, content):
    with fails(SourceError, naming="example.org"):
        listed_files(URL, kind, content)


@pytest.mark.parametrize("url", ["file:///dev/zero", "ftp://example.org/a-1.tar.gz"])
def test_a_server_lists_no_files_of_this_machine(url):
    assert from_html(f'<a href="{url}">a</a>') == {}
    assert from_json({"filename": "a-1.tar.gz", "url": url, "hashes": {}}) == {}


def test_a_page_of_this_machine_lists_files_of_it():
    files = listed_files("file:///srv/simple/a/index.html", "text/html", b'<a href="a-1.tar.gz">a</a>')
    assert files["a-1.tar.gz"].url == "file:///srv/simple/a/a-1.tar.gz"
