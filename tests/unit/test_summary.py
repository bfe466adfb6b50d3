"""A night as a table, as Markdown, as JUnit XML and as an exit code."""

from xml.etree import ElementTree as ET

import pytest

from pibuild.nightly.summary import as_markdown, as_table, exit_code, verdict, write_junit
from tests.makers.outcomes import make_night, make_outcome, make_rebuild

BUILT, SAME = make_outcome(changed=("source eigen",)), make_outcome(python="3.13", status="unchanged")
FAILED = make_outcome(python="3.9", status="failed", cause="no <b>|`\x00 room\nmore")


@pytest.mark.parametrize(
    ("outcomes", "code"), [((BUILT, SAME), 0), ((SAME,), 3), ((BUILT, SAME, FAILED), 11), ((SAME, FAILED), 11)]
)
def test_the_exit_code_distinguishes_good_nothing_to_do_and_failed(outcomes, code):
    assert exit_code(make_night("1", *outcomes)) == code


def test_the_verdict_has_the_count_of_each_status():
    assert verdict(make_night("1", BUILT, SAME, FAILED)) == "1 built, 1 failed, 1 unchanged of 3 cells"
    assert verdict(make_night("1", SAME)) == "nothing to do"


def test_a_night_that_only_publishes_has_done_something():
    night = make_night("1", SAME, set_id="20261125T031500Z")
    assert exit_code(night) == 0
    assert verdict(night) == "1 unchanged of 1 cells; published 20261125T031500Z"


def test_the_table_has_changes_or_the_cause_of_each_cell():
    lines = as_table(make_night("1", BUILT, SAME, FAILED)).splitlines()
    assert "✓ built" in lines[0]
    assert "source eigen" in lines[0]
    assert "· unchanged" in lines[1]
    assert "✗ failed" in lines[2]
    assert len(lines) == 4


def test_markup_in_names_and_causes_is_escaped_in_markdown():
    page = as_markdown(make_night("1", FAILED))
    assert "<b>" not in page
    assert "no &lt;b&gt;\\|\\`" in page


def test_junit_has_a_case_for_each_cell_and_can_be_read(tmp_path):
    write_junit(make_night("1", BUILT, SAME, FAILED), tmp_path / "junit.xml")
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["errors"] == "1"
    assert suite.attrib["skipped"] == "1"
    error = suite.find("testcase/error")
    assert error.attrib["message"] == "no <b>|` room"
    assert "more" in error.text


@pytest.mark.parametrize(("status", "code"), [("equal", 3), ("different", 11), ("failed", 11)])
def test_an_artifact_that_is_not_equal_when_built_again_fails_the_night(status, code):
    assert exit_code(make_night("1", SAME, rebuilds=(make_rebuild(status),))) == code


def test_rebuilt_artifacts_are_in_every_report_with_their_difference(tmp_path):
    night = make_night("1", SAME, rebuilds=(make_rebuild("different"), make_rebuild(name="openblas 0.3.21 for pi-one")))
    write_junit(night, tmp_path / "junit.xml")
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert verdict(night) == "nothing to do; rebuilt: 1 equal, 1 different"
    assert "lib/numpy.so: its content differs at byte 7" in as_table(night)
    assert "| rebuild of numpy 2.0.2 for pi-one, Python 3.11 | ✗ different |" in as_markdown(night)
    assert suite.attrib["errors"] == "1"
