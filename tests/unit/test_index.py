"""The pages of the package index follow the standards."""

import json
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin

import pytest

from pibuild.publishing.index import index_pages
from pibuild.wheels.wheel import WheelFormatError
from tests.makers.sites import make_listed, make_set

PAGE = "simple/thing/index.html"
HOSTILE = '"><script src=x>alert(1)&amp;'


class Anchors(HTMLParser):
    """Collects what a page's links say, and every tag and name of an attribute that it has."""

    def __init__(self, page):
        super().__init__()
        self.links, self.texts, self.tags = [], [], []
        self.feed(page.decode())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "a":
            self.links.append(dict(attributes))
            self.texts.append("")

    def handle_data(self, text):
        if self.texts and self.tags[-1] == "a" and not self.texts[-1]:
            self.texts[-1] = text


def pages(*wheels):
    return index_pages(make_set(*wheels))


def link(wheel):
    return Anchors(pages(wheel)[PAGE]).links[0]


def entry(wheel):
    return json.loads(pages(wheel)["simple/thing/index.json"])["files"][0]


def test_a_set_has_two_pages_for_all_and_two_for_each_project():
    wheels = make_listed(), make_listed(file="Other_Thing.x-2.0-py3-none-any.whl")
    folders = ("simple", "simple/other-thing-x", "simple/thing")
    assert sorted(pages(*wheels)) == sorted(f"{folder}/index.{kind}" for folder in folders for kind in ("html", "json"))


def test_the_first_page_lists_projects_by_normalised_name():
    found = pages(make_listed(), make_listed(file="Other_Thing-2.0-py3-none-any.whl"))
    assert [one["href"] for one in Anchors(found["simple/index.html"]).links] == ["other-thing/", "thing/"]
    assert json.loads(found["simple/index.json"])["projects"] == [{"name": "other-thing"}, {"name": "thing"}]


def test_an_empty_set_has_an_empty_index():
    found = pages()
    assert sorted(found) == ["simple/index.html", "simple/index.json"]
    assert json.loads(found["simple/index.json"]) == {"meta": {"api-version": "1.1"}, "projects": []}


def test_links_lead_to_the_files_of_the_site_and_name_their_hash():
    wheel = make_listed()
    address = urljoin("https://example.org/pi/current/simple/thing/", link(wheel)["href"])
    assert address == f"https://example.org/pi/{wheel.folder}{wheel.file}#sha256={wheel.sha256}"


def test_a_plus_in_a_file_name_is_quoted_in_the_address():
    wheel = make_listed(file="thing-1.0+git.1-cp311-cp311-linux_armv6l.whl")
    assert "+" not in link(wheel)["href"]
    assert wheel.file in unquote(link(wheel)["href"])
    assert wheel.file in unquote(entry(wheel)["url"])


def test_the_html_says_its_version():
    assert b'<meta name="pypi:repository-version" content="1.0">' in pages(make_listed())[PAGE]


def test_the_html_has_only_plain_elements():
    page = pages(make_listed(requires_python=">=3.9", yanked="bad", abi_risk="of 3.9"))[PAGE]
    assert page.startswith(b"<!DOCTYPE html>\n")
    assert set(Anchors(page).tags) == {"html", "head", "meta", "title", "body", "h1", "a", "strong", "br"}


def test_requires_python_is_escaped():
    wheel = make_listed(requires_python=">=3.9,<4")
    assert link(wheel)["data-requires-python"] == ">=3.9,<4"
    assert b'data-requires-python="&gt;=3.9,&lt;4"' in pages(wheel)[PAGE]
    assert entry(wheel)["requires-python"] == ">=3.9,<4"


def test_a_wheel_without_requires_python_has_no_such_key():
    assert "data-requires-python" not in link(make_listed())
    assert "requires-python" not in entry(make_listed())


def test_the_metadata_of_a_wheel_is_announced_with_its_hash():
    wheel = make_listed()
    assert link(wheel)["data-core-metadata"] == f"sha256={wheel.metadata_sha256}"
    assert entry(wheel)["core-metadata"] == {"sha256": wheel.metadata_sha256}


def test_metadata_lacks_the_old_attribute_that_breaks_bookworms_pip():
    assert not [name for page in pages(make_listed()).values() for name in [b"dist-info-metadata"] if name in page]


def test_a_yank_and_its_reason_are_in_html_and_json():
    wheel = make_listed(yanked='crashes on <"Zero">')
    assert link(wheel)["data-yanked"] == 'crashes on <"Zero">'
    assert "<strong>yanked: crashes on &lt;&quot;Zero&quot;&gt;</strong>" in pages(wheel)[PAGE].decode()
    assert entry(wheel)["yanked"] == 'crashes on <"Zero">'


def test_a_yank_without_a_reason_is_a_yank():
    wheel = make_listed(yanked="")
    assert link(wheel)["data-yanked"] == ""
    assert entry(wheel)["yanked"] is True


def test_a_wheel_that_is_not_yanked_is_marked_so_in_json():
    assert "data-yanked" not in link(make_listed())
    assert entry(make_listed())["yanked"] is False


def test_a_wheel_with_an_abi_risk_is_marked_in_html():
    assert b"<strong>ABI risk: compiled for cp39</strong>" in pages(make_listed(abi_risk="compiled for cp39"))[PAGE]


def test_the_json_has_size_time_and_versions():
    later = make_listed(file="thing-1.10-cp311-cp311-linux_armv6l.whl", sha256="f" * 64)
    earlier = make_listed(file="thing-1.9-cp311-cp311-linux_armv6l.whl", made="2026-11-25T05:15:00+02:00")
    page = json.loads(pages(later, earlier)["simple/thing/index.json"])
    assert page["meta"] == {"api-version": "1.1"}
    assert page["versions"] == ["1.9", "1.10"]
    assert [one["filename"] for one in page["files"]] == [earlier.file, later.file]
    assert page["files"][0]["size"] == 1234
    assert page["files"][0]["upload-time"] == "2026-11-25T03:15:00.000000Z"


def test_a_hidden_wheel_is_not_listed_even_if_it_is_the_newest():
    listed = make_listed(made="2026-11-24T00:00:00Z")
    hidden = make_listed(file="thing-2.0-cp311-cp311-linux_armv6l.whl", hidden="2026-11-25T04:00:00Z")
    assert pages(listed, hidden) == pages(listed)


@pytest.mark.parametrize(
    "changes",
    [
        {"file": f"thing-1.0-cp311-cp311-{HOSTILE}.whl"},
        {"requires_python": HOSTILE},
        {"yanked": HOSTILE},
        {"abi_risk": HOSTILE},
    ],
)
def test_markup_in_the_fields_of_a_wheel_stays_text(changes):
    found = pages(make_listed(**changes))
    anchors = Anchors(found[PAGE])
    assert "script" not in anchors.tags
    assert len(anchors.links) == 1
    assert all(name == "href" or name.startswith("data-") for name in anchors.links[0])
    assert json.loads(found["simple/thing/index.json"])["name"] == "thing"


BAD_NAMES = (
    "thing.whl",
    "thing-1.0.tar.gz",
    "..-1.0-py3-none-any.whl",
    "ö-1.0-py3-none-any.whl",
    "thing-1.0-py3-none-a/b.whl",
    "thing-1.0-py3-none-a\\b.whl",
    "thing-1.0-py3-none-a\nb.whl",
)


@pytest.mark.parametrize("file", BAD_NAMES)
def test_a_file_name_without_a_project_or_with_a_path_is_rejected(file):
    with pytest.raises(WheelFormatError):
        pages(make_listed(file=file))


def test_equal_sets_give_equal_bytes_in_any_order():
    wheels = [make_listed(), make_listed(file="thing-1.1-cp311-cp311-linux_armv7l.whl", sha256="f" * 64)]
    assert pages(*wheels) == pages(*reversed(wheels))
