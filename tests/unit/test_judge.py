"""The verdicts of whole wheels, and how they are told; each check has tests of its own."""

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from packaging.version import Version

import pibuild.verify
from pibuild.verify.findings import Finding
from pibuild.verify.judge import Question, judge, worst_of
from pibuild.verify.text import MARKS, WORDS, as_facts, as_text
from pibuild.wheels.relabel import relabel_built_wheel
from tests.makers.elfs import BX_LR, PI_TWO, SO, arm, make_elf
from tests.makers.wheels import make_wheel

_MOVW = 0xE3001234
_ARMV6, _ARMV7 = (f"thing-1.0-cp311-cp311-linux_armv{level}l.whl" for level in (6, 7))
_ZERO, _TWO, _FOUR, _FOUR_64 = "Pi 1, Zero, Zero W", "Pi 2", "Pi 4 (32 bit)", "Pi 4 (64 bit)"


def wheel(folder, elf=None, *, file_name=_ARMV6, path=SO, **changes):
    tag = file_name.removesuffix(".whl").split("-", 2)[2]
    files = {path: elf if elf is not None else make_elf(), "thing/__init__.py": b""}
    return make_wheel(folder, files, file_name=file_name, tags=changes.pop("tags", (tag,)), **changes)


def judged(folder, elf=None, *, floor=None, **changes):
    return judge(wheel(folder, elf, **changes), floor=floor)


def for_armv7(folder):
    """Return the verification of code that a Pi 2 runs, and a Zero does not."""
    return judged(folder, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO), file_name=_ARMV7)


def verdict(verification, pi, release="bookworm", python="3.11"):
    wanted = pi, release, python
    return next(
        verdict
        for verdict in verification.verdicts
        if (verdict.place.pi.name, verdict.place.system.name, verdict.place.python.version) == wanted
    )


def where(verification, outcome="runs"):
    return {
        (verdict.place.pi.name, verdict.place.system.name, verdict.place.python.version)
        for verdict in verification.verdicts
        if verdict.outcome == outcome
    }


def checks(verdict):
    return {finding.check for finding in verdict.findings}


# one verdict for each place


def test_a_wheel_for_armv6_runs_on_a_zero_with_that_python(tmp_path):
    assert where(judged(tmp_path)) == {(_ZERO, "bookworm", "3.11")}


def test_where_pip_refuses_a_wheel_nothing_else_is_said(tmp_path):
    refused = verdict(for_armv7(tmp_path), _ZERO)
    assert (refused.outcome, checks(refused), refused.is_installed) == ("fails", {"pip"}, False)


def test_code_for_a_later_cpu_fails_where_pip_installs_it(tmp_path):
    verification = judged(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO))
    failing = verdict(verification, _ZERO)
    assert (failing.outcome, checks(failing), failing.is_installed) == ("fails", {"cpu"}, True)
    assert failing.findings[0].path == SO
    assert where(verification) == set()


def test_what_a_release_lacks_fails_there_and_runs_on_the_next(tmp_path):
    name, path = "thing-1.0-cp37-abi3-linux_armv7l.whl", "thing/_core.abi3.so"
    newer = make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.33"),))
    verification = judged(tmp_path, newer, file_name=name, path=path)
    assert checks(verdict(verification, _TWO, "bullseye", "3.9")) == {"symbols"}
    assert verdict(verification, _TWO).outcome == "runs"


def test_a_pure_wheel_runs_on_each_pi_release_and_python_3(tmp_path):
    name = "thing-1.0-py3-none-any.whl"
    path = make_wheel(tmp_path, {"thing/__init__.py": b""}, file_name=name, tags=("py3-none-any",), purelib="true")
    verification = judge(path)
    assert {verdict.outcome for verdict in verification.verdicts if verdict.is_installed} == {"runs"}
    assert {(_ZERO, "jessie", "3.4"), (_FOUR_64, "trixie", "3.13")} <= where(verification)


def test_code_for_another_machine_runs_on_no_pi(tmp_path):
    elf = make_elf(bits=64, machine=62)
    name = "thing-1.0-cp311-cp311-linux_x86_64.linux_armv7l.whl"
    path = "thing2.cpython-311-arm-linux-gnueabihf.so"
    assert where(judged(tmp_path, elf, file_name=name, path=path)) == set()


def test_a_damaged_zip_file_fails_everywhere(tmp_path):
    path = tmp_path / "a.whl"
    path.write_bytes(b"PK\3\4 and no more")
    verification = judge(path)
    assert {(one.outcome, *checks(one)) for one in verification.verdicts} == {("fails", "file")}


def test_a_library_whose_code_cant_be_read_is_no_reason_to_say_that_it_runs(tmp_path):
    without_sections = bytearray(make_elf())
    for start, end in ((0x20, 0x24), (0x2E, 0x34)):
        without_sections[start:end] = bytes(end - start)
    assert where(judged(tmp_path, bytes(without_sections))) == set()


def test_a_floor_below_the_wheels_glibc_fails_everywhere(tmp_path):
    newer = make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.33"),))
    assert where(judged(tmp_path, newer, floor=Version("2.28"))) == set()
    assert where(judged(tmp_path, newer, floor=Version("2.33"))) == {(_ZERO, "bookworm", "3.11")}


def test_a_bill_of_materials_changes_no_verdict(tmp_path):
    plain = wheel(tmp_path)
    made = relabel_built_wheel(plain, python="3.11", platform_tag="linux_armv6l", out_dir=tmp_path / "out", sbom=b"{}")
    assert (where(judge(made)), judge(made).modules) == (where(judge(plain)), judge(plain).modules)


def test_what_does_no_harm_is_a_note(tmp_path):
    verification = judged(tmp_path, purelib="true")
    assert where(verification) == {(_ZERO, "bookworm", "3.11")}
    assert any("Root-Is-Purelib" in note.reason for note in verification.notes)


# questions and answers


def test_without_a_question_the_places_where_pip_installs_it_are_asked_about(tmp_path):
    asked = for_armv7(tmp_path).asked(Question())
    assert all("armv7l" in verdict.place.pi.architectures for verdict in asked)
    assert worst_of(asked) == "runs"


@pytest.mark.parametrize(
    ("question", "outcome"),
    [
        (Question(target="pi-one"), "fails"),
        (Question(target="pi-two"), "runs"),
        (Question(cpu="Cortex-A72", bits=32), "runs"),
        (Question(cpu="Cortex-A72", bits=64), "fails"),
        (Question(cpu="ARM1176"), "fails"),
        (Question(python="3.13"), "fails"),
        (Question(release="bookworm", target="pi-two"), "runs"),
    ],
)
def test_a_question_names_a_target_a_python_or_a_release(tmp_path, question, outcome):
    assert worst_of(for_armv7(tmp_path).asked(question)) == outcome


def test_a_wheel_that_pip_installs_nowhere_fails(tmp_path):
    musl = judged(tmp_path, file_name="thing-1.0-cp311-cp311-musllinux_1_2_armv7l.whl", path="thing/a.so")
    assert worst_of(musl.asked(Question())) == "fails"


def unsure(verification):
    doubt = Finding(outcome="unsure", check="cpu", reason="a pointer leads to it")
    verdicts = tuple(replace(one, findings=(doubt,)) if one.is_installed else one for one in verification.verdicts)
    return replace(verification, verdicts=verdicts)


def test_a_trial_settles_what_was_unsure(tmp_path):
    doubtful = unsure(for_armv7(tmp_path))
    broken = Finding(outcome="fails", check="device", reason="SIGILL")
    asked = doubtful.asked(Question())
    ran = doubtful.tried({verdict.place: None for verdict in asked})
    crashed = doubtful.tried({verdict.place: broken for verdict in asked})
    assert [worst_of(one.asked(Question())) for one in (doubtful, ran, crashed)] == ["unsure", "runs", "fails"]


def test_a_trial_does_not_excuse_what_fails(tmp_path):
    failing = judged(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO))
    tried = failing.tried({verdict.place: None for verdict in failing.verdicts})
    assert worst_of(tried.asked(Question())) == "fails"


def test_a_trial_adds_what_it_shows_of_an_instruction_that_the_cpu_lacks(tmp_path):
    failing = for_armv7(tmp_path)
    cpu = Finding(outcome="fails", check="cpu", reason="uses ldadd/swp")
    loader = Finding(outcome="fails", check="loader", reason="needs libssl.so.1.1")
    seen = Finding(outcome="fails", check="cpu", reason="import demo dies of SIGILL")
    bits_64 = next(each for each in failing.verdicts if each.place.pi.bits == 64)
    bits_32 = next(each for each in failing.verdicts if each.place.pi.bits == 32)
    assert replace(bits_64, findings=(cpu,)).is_worth_a_trial
    assert not replace(bits_64, findings=(cpu, loader)).is_worth_a_trial
    assert not replace(bits_32, findings=(cpu,)).is_worth_a_trial
    told = replace(failing, verdicts=(replace(bits_64, findings=(cpu,)),))
    assert told.tried({bits_64.place: seen}).verdicts[0].findings == (cpu, seen)
    assert told.tried({bits_64.place: None}).verdicts[0].findings == (cpu,)


# how they are told


def test_the_json_fits_its_schema_and_has_what_the_table_has(tmp_path):
    schema = json.loads(Path(pibuild.verify.__file__).with_name("schema.json").read_text())
    verification = for_armv7(tmp_path)
    facts = as_facts(verification, verification.asked(Question()))
    jsonschema.validate({"schema": 2, "wheels": [facts]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 2, "wheels": [facts | {"more": 1}]}, schema)
    told = {(one["pi"], one["release"], one["python"]) for one in facts["verdicts"] if one["verdict"] == "runs"}
    assert told == where(verification)
    assert facts["answer"] == "runs"


def test_a_row_of_the_table_has_a_mark_for_each_pi_that_has_the_release(tmp_path):
    (row,) = [line for line in as_text(for_armv7(tmp_path)).splitlines() if line.startswith("  bookworm 3.11")]
    assert [word for word in row.split() if word in MARKS.values()] == [*"✗✓✓✓✓✗✗✗"]


def test_each_reason_stands_once_below_the_table(tmp_path):
    verification = judged(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO))
    text = as_text(verification)
    reasons = {finding for one in verification.verdicts for finding in one.findings}
    assert all(text.count(finding.reason[:30]) == 1 for finding in reasons if finding.check == "cpu")


def needing(path, *, release=None, version="2.34", outcome="fails"):
    """Return a finding about a glibc that a release lacks, or about each release."""
    at_place = f"{release} has an older one" if release else ""
    reason = f"needs GLIBC_{version} (for {path})"
    return Finding(outcome=outcome, check="symbols", path=path, reason=reason, at_place=at_place)


def with_findings(verification, *findings):
    """Return a verification in which each place has those of its release, and those of every one."""
    return replace(
        verification,
        verdicts=tuple(
            replace(
                verdict,
                findings=tuple(
                    finding
                    for finding in findings
                    if not finding.at_place or finding.at_place.startswith(verdict.place.system.name)
                ),
            )
            for verdict in verification.verdicts
        ),
        notes=(),
    )


def numbered(text):
    """Return the numbered reasons of a report, each in one line."""
    below = text.partition("\n\n")[2].partition("\n\n")[2]
    return [
        " ".join(reason.split()) for reason in re.split(r"^ +(?=\d+  )|^ +(?=note: )", below, flags=re.MULTILINE)[1:]
    ]


def test_reasons_that_differ_by_what_a_release_has_are_one(tmp_path):
    findings = [needing("a.so", release=release) for release in ("buster", "bullseye")]
    (reason,) = numbered(as_text(with_findings(for_armv7(tmp_path), *findings)))
    assert "buster has an older one, bullseye has an older one" in reason


def test_a_reason_of_several_files_is_told_once_with_their_number(tmp_path):
    findings = [needing(f"{name}.so") for name in "abc"]
    (reason,) = numbered(as_text(with_findings(for_armv7(tmp_path), *findings)))
    assert "a.so and 2 more files: " in reason


def test_reasons_with_other_releases_or_outcomes_are_not_joined(tmp_path):
    findings = [
        *(needing("a.so", release="buster"), needing("b.so", release="bullseye"), needing("c.so", version="2.35")),
        needing("d.so", outcome="unsure"),
    ]
    assert len(numbered(as_text(with_findings(for_armv7(tmp_path), *findings)))) == 4


def test_a_note_is_told_once_and_not_beside_a_reason_for_the_same(tmp_path):
    notes = [needing(f"{name}.so", outcome="note") for name in "abc"]
    stack = Finding(outcome="note", check="loader", path="a.so", subject="PT_GNU_STACK", reason="asks for a stack")
    reason = replace(stack, outcome="fails", reason="asks for a stack, which glibc refuses")
    verification = replace(with_findings(for_armv7(tmp_path), reason), notes=(*notes, stack))
    first, second = numbered(as_text(verification))
    assert "which glibc refuses" in first
    assert "a.so and 2 more files: " in second


def test_many_notes_are_shown_only_if_asked_for(tmp_path):
    notes = tuple(needing("a.so", version=f"2.{number}", outcome="note") for number in range(30))
    verification = replace(for_armv7(tmp_path), notes=notes)
    assert as_text(verification).count("note: ") < 10
    assert as_text(verification, columns=None).count("note: ") == 30


def test_the_table_has_only_what_was_asked_for(tmp_path):
    question = Question(target="pi-two", release="bookworm")
    text = as_text(for_armv7(tmp_path).about(question))
    assert "trixie" not in text
    assert "Zero W" not in text
    assert "bookworm 3.11" in text


def test_a_pi_without_the_release_has_a_dash(tmp_path):
    text = as_text(judged(tmp_path, file_name="thing-1.0-cp37-cp37m-linux_armv6l.whl", path="thing/_core.so"))
    (row,) = [line for line in text.splitlines() if line.startswith("  buster 3.7")]
    assert [word for word in row.split() if word in "✓✗-"] == [*"✓✗✗✗-", *"---"]


def test_no_line_is_wider_than_asked(tmp_path):
    path = "thing/" + "long_name_" * 12 + ".so"
    text = as_text(judged(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO), path=path))
    assert max(map(len, text.splitlines())) <= 110


def test_marks_are_words_where_an_encoding_lacks_them(tmp_path):
    text = as_text(for_armv7(tmp_path), marks=WORDS)
    assert text.isascii()
    assert "yes" in text


def test_line_breaks_in_names_make_no_line_of_the_report(tmp_path):
    evil = "thing/a\n::error::pwned\n  bookworm 3.11  everything\x1b[8m.so"
    verification = judged(tmp_path, make_elf(needed=("libx\r\x1b[2J.so",)), path=evil)
    text = as_text(verification)
    assert all(letter.isprintable() for line in text.split("\n") for letter in line)
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    assert sum(line.startswith("  bookworm") for line in text.splitlines()) == 1
    assert as_facts(verification, ())["machine_code"][0]["path"] == evil
