import base64
import hashlib
import json
import posixpath
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from pibuild.model import Cell
from pibuild.publishing.page import charts, nights, offers
from pibuild.publishing.page.rendering import render
from tests.makers.nights import (
    EVIL,
    make_cells,
    make_hostile,
    make_night,
    make_nights,
    make_outcome,
    make_published_wheel,
    make_set,
    make_set_of,
    wheel_file,
)
from tests.makers.outcomes import make_rebuild

FLOORS = {"pi-one": "2.19", "pi-two": "2.19"}
SITE = "https://wheels.example.org/pi"


class Elements(HTMLParser):
    """All elements of a page, with their attributes, and the text of each script and style."""

    def __init__(self, page: bytes):
        super().__init__()
        self.all: list[tuple[str, dict]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        if self._open in self.raw:
            self.raw[self._open].append(data)
        else:
            self.text += data

    def handle_endtag(self, _tag):
        self._open = ""

    def named(self, tag):
        return [attributes for name, attributes in self.all if name == tag]


def show(published=None, of_nights=(), *, title="Wheels", base_url=SITE, logs=lambda _name: None):
    return render(published or make_set(), of_nights, title=title, base_url=base_url, logs=logs)


def answers(wheels, floors=FLOORS):
    return {(one.pi, one.place, one.python): one for one in offers.choices(wheels, floors)}


def cell(recipe="tflite-runtime", version="2.14.1", target="pi-one", python="3.11", ref=""):
    return Cell(recipe=recipe, version=version, target=target, python=python, ref=ref)


def commands(wheels, *place, floors=FLOORS):
    return [one.command for one in answers(wheels, floors)[place].offers]


def reason(wheels, *place, floors=FLOORS):
    return answers(wheels, floors)[place].reason


PLACES = {
    "jessie": ("2.7", "3.4"),
    "stretch": ("2.7", "3.5"),
    "bullseye": ("3.9",),
    "bookworm": ("3.11",),
    "trixie": ("3.13",),
}
PIS = {"Pi 1, Zero, Zero W": "jessie", "Pi 2": "jessie", "Pi 3, Zero 2": "jessie", "Pi 4": "buster", "Pi 5": "bookworm"}
ORDER = ["jessie", "stretch", "buster", "bullseye", "bookworm", "trixie"]
COMBINATIONS = [
    (pi, f"{system} (32 bit)", python)
    for pi, first in PIS.items()
    for system, pythons in PLACES.items()
    for python in pythons
    if ORDER.index(system) >= ORDER.index(first)
]


@pytest.mark.parametrize("place", COMBINATIONS)
def test_each_pi_system_and_python_of_the_matrix_has_one_command(place):
    project = "tensorflow==1.12.3" if place[2] in ("2.7", "3.4", "3.5") else "tflite-runtime==2.14.1"
    program = "python2.7" if place[2] == "2.7" else "python3"
    wheels = make_set().wheels
    assert commands(wheels, *place) == [f"{program} -m pip install {{index}} --only-binary :all: {project}"]


def test_dependencies_are_not_offered_by_themselves():
    numpy = make_published_wheel(cell("numpy-wheel"), file="numpy-2.0.2-cp311-cp311-linux_armv6l.whl", is_beside=True)
    six = make_published_wheel(target="", file="six-1.16.0-py2.py3-none-any.whl", is_beside=True)
    lite = make_published_wheel(cell())
    place = ("Pi 1, Zero, Zero W", "bookworm (32 bit)", "3.11")

    assert [one.name for one in answers([numpy, six, lite])[place].offers] == ["tflite-runtime 2.14.1"]
    assert answers([numpy, six])[place].offers == ()
    assert [one.name for one in answers([replace(numpy, is_beside=False)])[place].offers] == ["numpy 2.0.2"]
    assert "32-bit" in reason([numpy, six, lite], "Pi 4", "bookworm (64 bit)", "3.11")


def test_dependencies_in_pure_python_have_no_card():
    six = make_published_wheel(target="", file="six-1.16.0-py2.py3-none-any.whl", is_beside=True)
    page = Elements(show(make_set([six, make_published_wheel()]))["index.html"])

    assert wheel_file(make_cells()[0]) in page.text
    assert six.file not in page.text


def test_the_card_of_a_withdrawn_pure_wheel_names_no_target():
    six = make_published_wheel(target="", file="six-1.16.0-py2.py3-none-any.whl", is_beside=True, yanked="wrong")
    page = Elements(show(make_set([six]))["index.html"])

    assert six.file in page.text
    assert "pure Python · 5.2 MB" in page.text


def test_a_wheel_for_armv6l_is_offered_to_the_oldest_pis_only():
    wheels = [make_published_wheel(cell(target="pi-one"))]
    assert [one.pi for one in answers(wheels).values() if one.offers] == ["Pi 1, Zero, Zero W"]


def test_a_wheel_for_armv7l_is_not_offered_to_a_pi_zero():
    wheels = [make_published_wheel(cell(target="pi-two"))]
    assert "no wheel for this Pi (armv6l)" in reason(wheels, "Pi 1, Zero, Zero W", "bookworm (32 bit)", "3.11")


def test_a_64_bit_system_without_wheels_gets_that_reason():
    assert "32-bit" in reason(make_set().wheels, "Pi 4", "bookworm (64 bit)", "3.11")


def test_a_wheel_of_64_bits_is_offered_to_64_bit_systems_alone():
    file = "tflite_runtime-2.14.1-cp39-cp39-manylinux_2_28_aarch64.whl"
    wheels = [make_published_wheel(cell(target="pi-64", python="3.9"), file=file)]
    offered = {key: one.offers[0].name for key, one in answers(wheels, {"pi-64": "2.28"}).items() if one.offers}

    assert offered == dict.fromkeys(
        [(pi, "bullseye (64 bit)", "3.9") for pi in ("Pi 3, Zero 2", "Pi 4")], "tflite-runtime 2.14.1"
    )
    assert "64-bit systems, and this one has 32 bits" in reason(wheels, "Pi 4", "bullseye (32 bit)", "3.9")


def test_a_python_without_a_wheel_gets_the_list_of_those_with_one():
    told = reason(make_set().wheels, "Pi 4", "buster (32 bit)", "3.7")
    assert "Python 3.7" in told
    assert "2.7, 3.4, 3.5, 3.9, 3.11, 3.13" in told


def test_a_wheel_for_a_newer_glibc_is_not_offered_and_both_versions_are_named():
    wheels = make_set().wheels
    floors = {"pi-one": "2.28", "pi-two": "2.19"}
    assert commands(wheels, "Pi 2", "stretch (32 bit)", "3.5", floors=floors)
    told = reason(wheels, "Pi 1, Zero, Zero W", "stretch (32 bit)", "3.5", floors=floors)
    assert "glibc 2.28" in told
    assert "2.24" in told


def test_a_withdrawn_wheel_is_not_offered_and_its_reason_is_shown():
    wheels = [make_published_wheel(cell(), yanked="wrong results")]
    assert reason(wheels, "Pi 1, Zero, Zero W", "bookworm (32 bit)", "3.11").endswith("wrong results")


def test_the_newest_release_is_offered():
    wheels = [make_published_wheel(cell(version=version)) for version in ("2.9.0", "2.14.1", "2.10.0")]
    (command,) = commands(wheels, "Pi 1, Zero, Zero W", "bookworm (32 bit)", "3.11")
    assert command.endswith("tflite-runtime==2.14.1")


def test_a_newer_nightly_is_offered_after_the_release_and_marked():
    nightly = make_published_wheel(cell(ref="main"), file=wheel_file(cell(version="2.15.0.dev20261125+g1f2e3d4")))
    offered = answers([make_published_wheel(cell()), nightly])["Pi 1, Zero, Zero W", "bookworm (32 bit)", "3.11"].offers
    assert [one.name for one in offered] == ["tflite-runtime 2.14.1", "tflite-runtime 2.15.0.dev20261125+g1f2e3d4"]
    assert "nightly" in offered[1].note


def test_an_older_nightly_is_not_offered():
    nightly = make_published_wheel(cell(ref="main"), file=wheel_file(cell(version="2.14.0.dev1")))
    assert (
        len(commands([make_published_wheel(cell()), nightly], "Pi 1, Zero, Zero W", "bookworm (32 bit)", "3.11")) == 1
    )


def test_an_offer_with_an_abi_risk_says_so():
    wheels = [make_published_wheel(cell(), abi_risk="named for cp39")]
    assert "named for cp39" in answers(wheels)["Pi 1, Zero, Zero W", "bookworm (32 bit)", "3.11"].offers[0].note


@pytest.mark.parametrize(("python", "words"), [("3.11", "python3 -m venv"), ("3.4", "pip==19.1.1"), ("3.9", "")])
def test_commands_to_run_before_the_installation_are_shown(python, words):
    found = next(one for one in answers(make_set().wheels).values() if one.python == python and one.offers)
    assert words in " ".join(command for _, command in found.before)
    assert bool(found.before) == bool(words)


def test_without_javascript_preparations_and_gaps_are_shown_once():
    text = Elements(show()["index.html"]).text
    for words in (
        "Python 3.11, 3.13: On this system, pip installs only into a virtual environment.",
        "Pi 3, Zero 2; Pi 4 with bullseye (64 bit), bookworm (64 bit), trixie (64 bit)",
    ):
        assert text.count(words) == 1


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://a.example/simple/", "--index-url https://a.example/simple/"),
        ("http://127.0.0.1:8000/simple/", "--index-url http://127.0.0.1:8000/simple/"),
        ("http://pi.local:8000/simple/", "--index-url http://pi.local:8000/simple/ --trusted-host pi.local:8000"),
        ("https://a.example/a b;ls/", "--index-url 'https://a.example/a b;ls/'"),
    ],
)
def test_the_options_of_an_index_are_quoted_for_pip_and_the_shell(url, options):
    assert offers.index_options(url) == options


def test_the_page_has_every_command_without_javascript():
    text = Elements(show()["index.html"]).text
    for project in ("tflite-runtime==2.14.1", "tensorflow==1.12.3"):
        assert f"-m pip install --index-url {SITE}/current/simple/ --only-binary :all: {project}" in text


def test_without_an_address_commands_have_an_explained_placeholder():
    page = show(base_url="")["index.html"].decode()
    assert "--index-url https://…/current/simple/" in page
    assert 'id="placeholder"' in page
    assert 'id="placeholder"' not in show()["index.html"].decode()


def test_a_hidden_wheel_is_on_no_page():
    wheel = make_published_wheel(cell(), hidden="2026-11-20T00:00:00Z")
    assert not [path for path, page in show(make_set([wheel])).items() if wheel.file.encode() in page]


def test_withdrawn_wheels_and_abi_risks_are_marked_with_their_reasons():
    wheels = [
        make_published_wheel(cell(), yanked="wrong results"),
        make_published_wheel(cell(target="pi-two"), abi_risk="named for cp39"),
    ]
    text = Elements(show(make_set(wheels))["index.html"]).text
    assert "Withdrawn: wrong results" in text
    assert "ABI risk" in text
    assert "named for cp39" in text


def hostile_pages():
    published, of_nights = make_hostile()
    return show(
        published, of_nights, title=EVIL, base_url=f"https://a.example/{EVIL}", logs=lambda _name: EVIL.encode()
    )


def test_markup_in_names_causes_and_logs_never_becomes_elements():
    for path, page in hostile_pages().items():
        found = Elements(page)
        assert len(found.named("script")) == (2 if path == "index.html" else 0), path
        assert not found.named("img"), path
        assert not [name for _, attributes in found.all for name in attributes if name.startswith("on")], path
        assert "alert(1)" in found.text, path


def test_markup_in_the_embedded_json_does_not_end_its_script():
    embedded = Elements(hostile_pages()["index.html"]).raw["script"][0]
    assert not set("<>&") & set(embedded)
    reasons = [one["reason"] for one in json.loads(embedded)["choices"]]
    assert any(EVIL in one for one in reasons)


def test_hostile_names_lead_to_files_of_plain_names():
    paths = set(hostile_pages())
    assert len(paths) == 3
    assert all(set(path) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") for path in paths)
    assert not [path for path in paths if "/." in path]


@pytest.mark.parametrize("names", [("a/b", "a_b"), ("../x", "_/x"), ("a<", "a>"), (".a", "a")])
def test_two_names_never_lead_to_one_file(names):
    assert len({nights.file_stem(name) for name in names}) == len(names)


def test_every_link_leads_to_an_existing_file():
    of_nights = make_nights()
    pages = show(make_set_of(of_nights), of_nights, logs=lambda _name: b"log")
    ids = {path: {attributes.get("id") for _, attributes in Elements(page).all} for path, page in pages.items()}
    beside = {"simple/index.html", "set.json", "SHA256SUMS"}
    for path, page in pages.items():
        for link in Elements(page).named("a"):
            to, _, anchor = link["href"].partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(to))) if to else path
            assert target in pages or target in beside or target.startswith("../files/"), link
            assert not anchor or anchor in ids[target], link


def test_the_page_loads_nothing_from_another_address():
    for page in show(make_set(), make_nights()).values():
        for tag, attributes in Elements(page).all:
            for name in ("src", "href", "action", "data", "poster", "srcset"):
                assert not attributes.get(name, "").startswith(("http", "//")), (tag, attributes)


def test_the_content_policy_has_the_hashes_of_style_and_script():
    found = Elements(show()["index.html"])
    policy = next(one["content"] for one in found.named("meta") if "http-equiv" in one)
    for text in (found.raw["style"][0], found.raw["script"][1]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not [one for _, one in found.all if "style" in one]


def test_twelve_cells_and_thirty_nights_stay_under_300_kb():
    thirty = make_nights(31, always_built=True)
    assert len(nights.latest(thirty)) == 30
    for of_nights in (make_nights(), thirty):
        assert len(show(make_set_of(of_nights), of_nights)["index.html"]) < 300_000


def test_long_causes_that_all_differ_stay_under_300_kb():
    of_nights = [
        make_night(
            number, [make_outcome(one, "failed", cause=f"{number} {one.id}\n{'x' * 9000}") for one in make_cells()]
        )
        for number in range(30)
    ]
    pages = show(make_set(), of_nights)
    assert len(pages["index.html"]) < 300_000
    assert b"x" * 9000 in pages[f"cells/{make_cells()[0].id}.html"]


def test_a_page_without_nights_and_wheels_says_so():
    text = Elements(show(make_set([]))["index.html"]).text
    for words in ("no wheel in this set yet", "No night has run yet", "There are no measurements yet"):
        assert words in text


def test_equal_input_gives_equal_bytes():
    assert show(make_set(), make_nights()) == show(make_set(), make_nights())


def test_the_matrix_shows_the_newest_night_first_and_blank_where_a_cell_did_not_run():
    one, two = make_cells()[:2]
    (first, second) = nights.rows(
        nights.latest([make_night(1, [make_outcome(one)]), make_night(0, [make_outcome(two)])])
    )
    assert [first.cell, second.cell] == [two, one]
    assert [bool(outcome) for outcome in second.outcomes] == [False, True]


def test_a_tile_says_status_duration_and_size_in_words():
    page = show(make_set(), [make_night(0, [make_outcome(make_cells()[0], wall_s=216.0)])])["index.html"]
    assert "built 3.6 min 5.2 MB" in Elements(page).text


def test_an_interrupted_night_is_marked():
    assert "cut" in Elements(show(make_set(), [make_night(0, [make_outcome()], ended="")])["index.html"]).text


def test_cells_that_failed_at_one_artifact_share_one_cause():
    cells = make_cells()[:3]
    night = make_night(0, [make_outcome(one, "failed", failed_at="e" * 64, cause="no source\nmore") for one in cells])
    (failure,) = nights.failures([night], nights.rows([night]))
    assert (failure.first_line, failure.rest, failure.cells, failure.is_current) == ("no source", "more", cells, True)


def test_a_failure_that_is_fixed_is_not_current():
    of_nights = nights.latest([make_night(1, [make_outcome(status="failed")]), make_night(0, [make_outcome()])])
    (failure,) = nights.failures(of_nights, nights.rows(of_nights))
    assert not failure.is_current


def test_a_failures_first_line_is_visible_and_the_rest_is_folded():
    outcome = make_outcome(status="failed", cause="the first line\nthe second")
    page = show(make_set(), [make_night(0, [outcome])])["index.html"].decode()
    assert '<p class="cause">the first line</p>' in page
    assert '<pre class="text">the second</pre></details>' in page


def test_a_cells_page_shows_every_field_of_an_outcome():
    outcome = make_outcome(changed=("source tensorflow", "image toolchain"), commit="c" * 40)
    pages = show(make_set(), [make_night(0, [outcome])])
    text = Elements(pages[f"cells/{outcome.cell.id}.html"]).text
    for words in ("source tensorflow, image toolchain", outcome.key, outcome.sha256, outcome.commit, "31 passed"):
        assert words in text
    assert "3 min 34 s, 6 min 42 s of CPU time" in text


def test_an_outcome_links_its_published_wheel_and_record():
    outcome = make_outcome()
    wheel = make_published_wheel(sha256=outcome.sha256)
    page = show(make_set([wheel]), [make_night(0, [outcome])])[f"cells/{outcome.cell.id}.html"].decode()
    assert f'href="../../{wheel.folder}{wheel.file}"' in page
    assert f'href="../../{wheel.folder}{wheel.file}.record.json"' in page


def test_a_wheel_that_left_the_index_has_no_link():
    outcome = make_outcome()
    page = show(make_set([]), [make_night(0, [outcome])])[f"cells/{outcome.cell.id}.html"]
    assert f"{outcome.wheel}, no longer in the index" in Elements(page).text


def test_a_log_page_has_no_terminal_sequences():
    log = b"\x1b[31merror:\x1b[0m <b>\xff\r\n1%\r50%\r100%\n\x1b]0;title\x07\x00end"
    pages = show(make_set(), [make_night(0, [make_outcome(status="failed", log="one.log")])], logs=lambda _name: log)
    assert "error: &lt;b&gt;\N{REPLACEMENT CHARACTER}\n100%\nend</pre>" in pages["logs/one.log.html"].decode()


def test_the_end_of_a_long_log_is_shown():
    pages = show(
        make_set(),
        [make_night(0, [make_outcome(status="failed", log="one.log")])],
        logs=lambda _: b"x" * 900_000 + b"end",
    )
    assert len(pages["logs/one.log.html"]) < 250_000
    assert b"the first 700.0 kB are left out" in pages["logs/one.log.html"]
    assert b"xend</pre>" in pages["logs/one.log.html"]


def test_a_removed_log_is_marked():
    outcome = make_outcome(status="failed", log="one.log")
    pages = show(make_set(), [make_night(0, [outcome])], logs=lambda _name: None)
    assert "one.log, removed" in Elements(pages[f"cells/{outcome.cell.id}.html"]).text
    assert not [path for path in pages if path.startswith("logs/")]


def draw(*outcomes):
    of_nights = nights.latest(make_night(len(outcomes) - number, [one]) for number, one in enumerate(outcomes))
    return {chart.title: chart for chart in charts.charts(of_nights, nights.rows(of_nights))}


def test_only_nights_that_built_have_a_build_time():
    unchanged = make_outcome(status="unchanged", wall_s=0.1)
    (panel,) = draw(make_outcome(wall_s=100.0), unchanged, make_outcome(wall_s=110.0))["Build time"].panels
    assert [words for _, _, words in panel.series[0].points] == ["22 Nov: 100 s", "24 Nov: 110 s"]
    assert panel.unit == "seconds"


def test_larger_values_are_higher_and_later_nights_further_right():
    (panel,) = draw(make_outcome(size_bytes=5_000_000), make_outcome(size_bytes=6_000_000))["Wheel size"].panels
    (x1, y1, _), (x2, y2, _) = panel.series[0].points
    assert x1 < x2
    assert y1 > y2


@pytest.mark.parametrize(
    ("values", "ends"),
    [([3.0], (2.9, 3.1)), ([0.0], (-1, 1)), ([1.0, 9.0], (0, 10)), ([5.1, 5.4], (5.1, 5.4)), ([-7.0, 0.0], (-8, 0))],
)
def test_an_axis_ends_in_round_numbers_around_its_values(values, ends):
    low, high, step = charts._axis(values)
    assert (low, high) == pytest.approx(ends, abs=0.06)
    assert low - 1e-9 <= min(values) <= max(values) <= high + 1e-9
    assert 2 <= (high - low) / step <= 7


def test_instructions_are_shown_as_counts_and_as_change_in_percent():
    drawn = draw(make_outcome(instructions={"int8": 2000}), make_outcome(instructions={"int8": 1900}))
    (panel,) = drawn["Instructions per inference"].panels
    assert panel.series[0].newest == "1\N{NARROW NO-BREAK SPACE}900 (\N{MINUS SIGN}5.0 %)"


def test_a_measure_without_values_has_no_chart():
    assert "Instructions per inference" not in draw(make_outcome())


def test_a_chart_has_title_description_units_points_and_a_table():
    page = show(make_set(), [make_night(1, [make_outcome()]), make_night(0, [make_outcome(wall_s=300.0)])])[
        "index.html"
    ]
    text = page.decode()
    assert "<title>Python 3.9, 25 Nov: 5 min 00 s</title>" in text
    assert "Build time, tflite-runtime 2.14.1, pi-one, in minutes by night</title>" in text
    assert '<text class="axis" x="4" y="12">minutes</text>' in text
    assert '<tr><th scope="row">25 Nov</th><td>5 min 00 s</td></tr>' in text


def test_an_artifact_that_differs_when_built_again_is_named_with_its_difference():
    rebuilds = (make_rebuild(name="openblas 0.3.21"), make_rebuild("different"))
    text = show(make_set(), [make_night(0, [make_outcome()], rebuilds=rebuilds)])["index.html"].decode()
    assert "✗ numpy 2.0.2 for pi-one, Python 3.11, 25 Nov: different: lib/numpy.so: its content differs" in text
    assert "✓ openblas 0.3.21, 25 Nov: equal" in text


def test_text_that_is_no_time_is_shown_unchanged():
    assert nights.moment("yesterday") == nights.day("yesterday") == "yesterday"
    assert nights.moment("2026-11-25T04:15:00+01:00") == "25 November 2026, 03:15 UTC"


def test_a_cell_whose_version_moves_has_one_row():
    of_nights = [make_night(number, [make_outcome(cell(ref="main", version=f"2.{number}"))]) for number in (1, 0)]
    (row,) = nights.rows(nights.latest(of_nights))
    assert row.cell == replace(cell(ref="main"), version="2.0")
