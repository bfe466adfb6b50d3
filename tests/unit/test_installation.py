"""What pip does with wheels: refuses, takes, or takes with another pip. Truth: real pips, as installation.py says."""

from dataclasses import replace

import pytest

from pibuild.config.pis import load_pis
from pibuild.verify.findings import worst_outcome
from pibuild.verify.installation import claim_notes, installation_findings, read_claims
from pibuild.wheels.wheel import read_wheel
from tests.makers.wheels import make_wheel

_PLAIN = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
_ZERO, _TWO, _THREE, _FIVE = "Pi 1, Zero, Zero W", "Pi 2", "Pi 3, Zero 2 (32 bit)", "Pi 5 (32 bit)"
_FOUR_64 = "Pi 4 (64 bit)"


def place(pi, system, python=None):
    """Return a place; without a Python, with the release's Python 3."""
    of_release = [one for one in load_pis().places if (one.pi.name, one.system.name) == (pi, system)]
    return next(one for one in of_release if one.python.version == (python or of_release[-1].python.version))


def judged(folder, where=("Pi 2", "bookworm"), *, tag="py3-none-any", **changes):
    """Return the findings for a wheel with a tag, or with changes to the plainest one, at one place."""
    changes = {"files": {"thing.py": b""}, "file_name": f"thing-1.0-{tag}.whl", "tags": (tag,), **changes}
    wheel = read_wheel(make_wheel(folder, purelib="true", **changes))
    return list(installation_findings(read_claims(wheel), place(*where)))


def reasons(findings, outcome="fails"):
    return "\n".join(finding.sentence for finding in findings if finding.outcome == outcome)


# tags


@pytest.mark.parametrize(
    ("tag", "where", "outcome"),
    [
        ("cp311-cp311-linux_armv6l", (_ZERO, "bookworm"), "runs"),
        ("cp311-cp311-linux_armv6l", (_TWO, "bookworm"), "fails"),
        ("cp311-cp311-linux_armv6l", (_ZERO, "trixie"), "fails"),
        ("cp37-none-linux_armv7l", (_TWO, "buster"), "runs"),
        ("cp37-none-linux_armv7l", (_TWO, "bullseye"), "fails"),
        ("cp32-abi3-linux_armv7l", (_TWO, "trixie"), "runs"),
        ("cp314-abi3-linux_armv7l", (_TWO, "trixie"), "fails"),
        ("cp313-cp313t-linux_armv7l", (_TWO, "trixie"), "fails"),
        ("py2.py3-none-linux_armv7l", (_TWO, "jessie", "2.7"), "runs"),
        ("cp27-cp27m-linux_armv7l", (_TWO, "buster", "2.7"), "fails"),
        ("cp311-cp311-manylinux_2_31_armv7l", (_TWO, "bookworm"), "runs"),
        ("cp311-cp311-manylinux2014_aarch64", (_FOUR_64, "bookworm"), "runs"),
        ("cp39-cp39-manylinux_2_34_aarch64", (_FOUR_64, "bullseye"), "fails"),
        ("cp39-cp39-manylinux1_armv7l", (_TWO, "bullseye"), "fails"),
        ("cp39-cp39-manylinux_2_31_armv6l", (_ZERO, "bullseye"), "fails"),
        ("cp311-cp311-musllinux_1_2_armv7l", (_TWO, "bookworm"), "fails"),
        ("cp311-cp311-any", (_TWO, "bookworm"), "fails"),
        ("cp311-cp311-linux_armhf", (_TWO, "bookworm"), "fails"),
    ],
)
def test_pip_takes_the_tags_that_fit_the_place(tmp_path, tag, where, outcome):
    assert worst_outcome(judged(tmp_path, where, tag=tag)) == outcome


def test_a_refused_tag_is_explained_by_python_platform_or_glibc(tmp_path):
    for number, (tag, where, said) in enumerate(
        (
            ("cp311-cp311-linux_armv7l", (_TWO, "trixie"), "cp311-cp311 is for another Python"),
            ("cp311-cp311-linux_armv7l", (_ZERO, "bookworm"), "is for armv7l; pip looks for armv6l"),
            ("cp39-cp39-manylinux_2_34_armv7l", (_TWO, "bullseye"), "asks for glibc 2.34; bullseye has 2.31"),
            ("cp311-cp311-musllinux_1_2_armv7l", (_TWO, "bookworm"), "systems with musl"),
        )
    ):
        assert said in reasons(judged(tmp_path / str(number), where, tag=tag))


@pytest.mark.parametrize(("pi", "outcome"), [(_TWO, "fails"), (_THREE, "runs"), (_FIVE, "runs")])
def test_armv8l_is_a_64_bit_kernel_with_a_32_bit_system(tmp_path, pi, outcome):
    findings = judged(tmp_path, (pi, "bookworm"), tag="cp311-cp311-linux_armv8l")
    assert worst_outcome(findings) == outcome
    assert outcome == "fails" or "armv8l" in {finding.subject for finding in findings}


def test_a_tag_that_only_the_newest_pip_takes_is_a_note_with_the_remedy(tmp_path):
    findings = judged(tmp_path, (_TWO, "jessie", "3.4"), tag="py3-none-linux_armv7l")
    assert [finding.outcome for finding in findings] == ["note"]
    assert "pip 1.5.6" in findings[0].at_place
    assert "--upgrade pip" in findings[0].remedy


def test_every_place_of_every_pip_has_tags_of_its_own_python_and_machine():
    for one in load_pis().places:
        for pip in filter(None, (one.python.pip, one.python.shipped_pip)):
            platforms = {tag.platform for tag in one.tags_of(pip)}
            assert platforms >= {"any", f"linux_{one.pi.architectures[0]}"}


# Requires-Python and Requires-Dist


@pytest.mark.parametrize(
    ("asked", "where", "outcome"),
    [
        (">=3.10", (_TWO, "bullseye"), "fails"),
        (">=3.10", (_TWO, "bookworm"), "runs"),
        (">=3.9.3", (_TWO, "bullseye"), "fails"),
        (">=3.9.2", (_TWO, "bullseye"), "runs"),
        ("!=3.11.2", (_TWO, "bookworm"), "fails"),
        (">=3.6, <3.13", (_TWO, "trixie"), "fails"),
        ("==3.11.*", (_TWO, "bookworm"), "runs"),
        ("three", (_TWO, "bookworm"), "runs"),
        ("^3.12", (_TWO, "bookworm"), "runs"),
        (">=3.12.*", (_TWO, "bookworm"), "runs"),
        (">=3.9.*", (_TWO, "buster"), "fails"),
        (">=3.0rc1", (_TWO, "bookworm"), "runs"),
        (">=2.7", (_TWO, "jessie", "3.4"), "runs"),
        (">=3.10", (_TWO, "jessie", "3.4"), "fails"),
        (">=3." + "9" * 5000, (_TWO, "bookworm"), "unsure"),
        ("<3." + "9" * 1000, (_TWO, "bookworm"), "runs"),
    ],
)
def test_requires_python_is_compared_with_the_full_version(tmp_path, asked, where, outcome):
    findings = judged(tmp_path, where, metadata=f"{_PLAIN}Requires-Python: {asked}\n")
    assert worst_outcome(findings) == outcome


def test_an_old_requirement_is_taken_by_the_pip_of_bookworm_only(tmp_path):
    metadata = f"{_PLAIN}Requires-Dist: other (>=1.*) ; extra == 'x'\n"
    bookworm = judged(tmp_path / "1", (_TWO, "bookworm"), metadata=metadata)
    assert [finding.outcome for finding in bookworm] == ["note"]
    assert worst_outcome(judged(tmp_path / "2", (_TWO, "trixie"), metadata=metadata)) == "fails"
    assert worst_outcome(judged(tmp_path / "3", (_TWO, "buster"), metadata=metadata)) == "runs"


@pytest.mark.parametrize("requirement", ["!!!", "other ; nonsense == 'x'", "other ; " + "(" * 5000 + ")" * 5000])
def test_an_invalid_requirement_is_refused_by_every_pip(tmp_path, requirement):
    metadata = f"{_PLAIN}Requires-Dist: {requirement}\n"
    assert worst_outcome(judged(tmp_path, (_TWO, "bookworm"), metadata=metadata)) == "fails"


def test_a_requirement_with_thousands_of_digits_is_refused(tmp_path):
    metadata = f"{_PLAIN}Requires-Dist: numpy>={'9' * 5000}\n"
    assert worst_outcome(judged(tmp_path, (_TWO, "trixie"), metadata=metadata)) == "fails"


@pytest.mark.parametrize(
    ("requirement", "where", "outcome"),
    [
        ("numpy>=1.22", (_TWO, "buster"), "fails"),
        ("numpy>=1.21", (_TWO, "buster"), "runs"),
        ("numpy>=2.1", (_TWO, "bullseye"), "fails"),
        ("numpy==2.*", (_TWO, "bullseye"), "runs"),
        ("numpy>=2.1 ; python_version >= '3.10'", (_TWO, "bullseye"), "runs"),
        ("numpy>=2.1 ; extra == 'all'", (_TWO, "bullseye"), "runs"),
        ("numpy>=9", (_TWO, "trixie"), "unsure"),
    ],
)
def test_a_numpy_that_the_python_has_no_release_of_is_a_fault(tmp_path, requirement, where, outcome):
    findings = judged(tmp_path, where, metadata=f"{_PLAIN}Requires-Dist: {requirement}\n")
    assert worst_outcome(findings) == outcome


# names and damaged parts


@pytest.mark.parametrize(
    ("file_name", "trixie", "bookworm"),
    [
        ("thing-1.0-1-py3-none-any.whl", "runs", "runs"),
        ("thing-1.0-b1-py3-none-any.whl", "fails", "fails"),
        ("thing-1.0-rc1-py3-none-any.whl", "fails", "fails"),
        ("th__ing-1.0-py3-none-any.whl", "fails", "fails"),
        ("thing-1.0_rc1-py3-none-any.whl", "runs", "runs"),
        ("th~ing-1.0-py3-none-any.whl", "fails", "fails"),
        ("_thing-1.0-py3-none-any.whl", "fails", "fails"),
        ("thíng-1.0-py3-none-any.whl", "fails", "fails"),
        ("thing 1-1.0-py3-none-any.whl", "fails", "fails"),
        ("thing-1.0-py3-any.whl", "fails", "fails"),
        ("thing-1.0-py3-none-any (1).whl", "fails", "fails"),
        ("Thing-1.0-py3-none-any.whl", "runs", "runs"),
        ("thing-1.0+pi-py3-none-any.whl", "runs", "runs"),
        ("thing-" + "1" * 190 + "-py3-none-any.whl", "runs", "runs"),
        ("thing-1.0-" + ".".join(["py3"] * 50) + "-none-any.whl", "runs", "runs"),
    ],
)
def test_pip_refuses_bad_file_names(tmp_path, file_name, trixie, bookworm):
    for system, outcome in (("trixie", trixie), ("bookworm", bookworm)):
        findings = judged(tmp_path, (_TWO, system), file_name=file_name)
        assert worst_outcome(findings) == outcome, reasons(findings)


def damaged(**changes):
    return {"metadata": _PLAIN, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (damaged(metadata=_PLAIN.replace("thing", "other")), "Name in METADATA is other"),
        (damaged(metadata="Metadata-Version: 2.1\nVersion: 1.0\n"), "Name in METADATA is missing"),
        (damaged(metadata=_PLAIN.replace("1.0", "one")), "version one in METADATA"),
        (damaged(metadata=_PLAIN.replace("1.0", "1." + "9" * 5000)), "invalid"),
        (damaged(dist_info="other-1.0.dist-info"), "other-1.0.dist-info"),
        (damaged(metadata="Metadata-Version: 2.1\nName: thing\n"), "METADATA has no Version"),
        (damaged(record=lambda _: "\nthing.py,,\n"), "RECORD has an empty line"),
        (damaged(files={"a" * 256 + ".py": b""}), "more than 255 bytes"),
        (damaged(files={"thing-1.0.data/data/../../x": b""}), "outside of the wheel"),
        (damaged(files={"thing-1.0.dist-info/entry_points.txt": b"[x]\n\xff = a:b\n"}), "is not UTF-8"),
        (damaged(files={"thing-1.0.dist-info/entry_points.txt": b"[x]\na: b:c\n"}), "the line a: b:c"),
        (damaged(record=lambda _: "x" * 140_000 + ",,\n"), "RECORD is not a table"),
        (damaged(files={"../evil.py": b""}), "outside of the wheel"),
        (damaged(files={"/etc/evil": b""}), "outside of the wheel"),
        (damaged(files={"thing-1.0.data/nonsense/x": b""}), "no folder of .data"),
        (damaged(files={"thing-1.0.data/x": b""}), "no folder of .data"),
        (damaged(files={"thing": b"", "thing/a.py": b""}), "also a file"),
        (damaged(files={"thing-1.0.dist-info/entry_points.txt": b"[console_scripts]\nx = thing\n"}), "program x"),
        (damaged(files={"thing-1.0.dist-info/entry_points.txt": b"[console_scripts]\nx = a:*\n"}), "program x"),
    ],
)
def test_what_pip_ends_at_is_a_fault(tmp_path, changes, said):
    assert said in reasons(judged(tmp_path, (_TWO, "trixie"), **changes))


@pytest.mark.parametrize(
    "changes",
    [
        damaged(record=lambda text: text.replace("sha256=", "sha256=x")),
        damaged(record=lambda text: text + "gone.py,,\n"),
        damaged(record=lambda _: ""),
        damaged(tags=("cp27-cp27mu-linux_armv6l",)),
        damaged(metadata=_PLAIN.replace("1.0", "2.0")),
        damaged(metadata="Name: thing\nVersion: 1.0\n"),
        damaged(metadata=_PLAIN + "Name: other\n"),
        damaged(dist_info="thing-2.0.dist-info"),
        damaged(dist_info="Thing-1.0.dist-info"),
        damaged(files={"a/../thing.py": b""}),
        damaged(
            files={"thing-1.0.dist-info/entry_points.txt": b"[console_scripts]\nx = thing:main [a]\n[y]\nz = thing\n"}
        ),
        damaged(files={"thing-1.0.dist-info/entry_points.txt": b"garbage\n"}),
    ],
)
def test_what_pip_does_not_mind_is_no_fault(tmp_path, changes):
    assert worst_outcome(judged(tmp_path, (_TWO, "trixie"), **changes)) == "runs"


@pytest.mark.parametrize(
    "changes",
    [
        damaged(files={"thing-1.0.dist-info/entry_points.txt": text})
        for text in (b"a = b:c\n", b"[x]\na = b:c\na = b:d\n", b"[x]\na = b:c # note\n", b"[x\na\n")
    ],
)
def test_pips_for_python_before_3_11_read_entry_points_strictly(tmp_path, changes):
    assert worst_outcome(judged(tmp_path, (_TWO, "trixie"), **changes)) == "runs"
    assert worst_outcome(judged(tmp_path, (_TWO, "bullseye"), **changes)) == "fails"


def test_pips_for_python_before_3_11_take_the_name_from_the_folder(tmp_path):
    changes = damaged(metadata=_PLAIN.replace("thing", "other"))
    assert worst_outcome(judged(tmp_path, (_TWO, "trixie"), **changes)) == "fails"
    assert worst_outcome(judged(tmp_path, (_TWO, "bullseye"), **changes)) == "runs"


@pytest.mark.parametrize("begin", ["\ufeff", "\n"])
def test_pips_for_python_before_3_11_find_the_version_in_any_line(tmp_path, begin):
    # by pip 20.3.4 and 26.0.1 of Python 3.9, 23.0.1 and 26.3 of 3.11, 25.1.1 and 26.3 of 3.13, under qemu-arm
    text = f"{begin}{_PLAIN}Requires-Python: >=3.99\n"
    for system, outcome in (("bullseye", "runs"), ("bookworm", "fails"), ("trixie", "fails")):
        assert worst_outcome(judged(tmp_path, (_TWO, system), metadata=text)) == outcome
    text = f"{begin}Version: 1.0\nName: thing\n" if begin == "\ufeff" else "\nName: thing\n"
    assert worst_outcome(judged(tmp_path, (_TWO, "bullseye"), metadata=text)) == "fails"


@pytest.mark.parametrize(("version", "outcome"), [("1.9", "runs"), ("-1.0", "runs"), ("2.0", "fails"), ("x", "fails")])
def test_pip_reads_the_version_of_wheel_as_numbers(tmp_path, version, outcome):
    wheel = read_wheel(make_wheel(tmp_path, file_name="thing-1.0-py3-none-any.whl", tags=("py3-none-any",)))
    stated = f"Wheel-Version: {version}\n".encode()
    files = (replace(file, content=stated) if file.path.endswith("/WHEEL") else file for file in wheel.files)
    found = installation_findings(read_claims(replace(wheel, files=tuple(files))), place(_TWO, "trixie"))
    assert worst_outcome(found) == outcome


def test_contradictions_that_do_no_harm_are_a_few_notes(tmp_path):
    files = {f"thing/{number}.py": b"" for number in range(50)}
    path = make_wheel(tmp_path, files, tags=("cp27-cp27mu-linux_armv6l",), record=lambda _: "")
    notes = list(claim_notes(read_wheel(path)))
    assert {note.outcome for note in notes} == {"note"}
    assert len(notes) < 10
    assert "WHEEL claims cp27-cp27mu-linux_armv6l" in notes[0].reason


@pytest.mark.parametrize("scheme", ["purelib", "platlib", "data"])
def test_modules_in_data_meet_the_files_beside_it(tmp_path, scheme):
    # by pip 20.3.4 of Python 3.9, 23.0.1 of 3.11, 25.1.1 of 3.13: «Not a directory»
    files = {"thing/__init__.py": b"", f"thing-1.0.data/{scheme}/thing/__init__.py/x": b""}
    findings = judged(tmp_path, files=files)
    assert ("a folder that is also a file" in reasons(findings)) is (scheme != "data")


def test_python_before_3_11_reads_no_record_with_a_nul(tmp_path):
    # by pip 20.3.4 of Python 3.9, 23.0.1 of 3.11, 25.1.1 of 3.13
    for system, outcome in (("bullseye", "fails"), ("bookworm", "runs"), ("trixie", "runs")):
        found = judged(tmp_path, (_TWO, system), record=lambda text: f"{text}a\0b,,\n")
        assert worst_outcome(found) == outcome
