"""What a person reads of an error is what we wrote, whatever names others gave their files."""

import pytest

from pibuild.errors import (
    BuildError,
    EngineError,
    ImageError,
    OutOfMemoryError,
    ProofError,
    PublishError,
    ResourceError,
    SourceError,
    StoreError,
    UnreachableError,
    UsageError,
    closest,
    nearest,
    printable,
)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("a plain line: ✓ ▸ ü, 10 %", "a plain line: ✓ ▸ ü, 10 %"),
        ("| make:\tfailed", "| make:\tfailed"),
        ("a\nb\rc", r"a\nb\rc"),
        ("\x1b[8mhidden\x9b0m", r"\x1b[8mhidden\x9b0m"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("name-\udcff", r"name-\udcff"),
        ("  ::error::pwned", r"  \x3a:error::pwned"),
        ("std::vector", "std::vector"),
        ("  thing/##[error]pwned and ##vso[task]", r"  thing/\x23#[error]pwned and \x23#vso[task]"),
        ("## a title", "## a title"),
    ],
)
def test_terminal_sequences_and_ci_commands_are_escaped(line, shown):
    assert printable(line) == shown


def test_a_line_break_in_a_name_starts_no_line_of_an_error():
    said = str(ProofError("no", found="a\n  try: this", details=["b\n::error::pwned"], hint="that"))
    assert said.splitlines() == ["no", r"  found:    a\n  try: this", r"  b\n::error::pwned", "  try: that"]


@pytest.mark.parametrize(
    ("name", "known", "close"),
    [
        ("--bogus", ["--os", "--jobs"], ""),
        ("yank", ["plan", "run"], ""),
        ("PIBUILD_PUBLISH", ["PIBUILD_WITH", "PIBUILD_JOBS"], ""),
        ("PIBUILD_JOB", ["PIBUILD_WITH", "PIBUILD_JOBS"], "PIBUILD_JOBS"),
        ("plna", ["build", "plan"], "plan"),
        ("tflite", ["tflite-runtime", "tensorflow"], "tflite-runtime"),
        ("Python", ["python"], "python"),
        ("-1", ["-v", "-q"], ""),
        ("", ["plan"], ""),
    ],
)
def test_only_a_misspelling_or_a_beginning_is_taken_for_another_name(name, known, close):
    assert closest(name, known) == close


def test_names_that_differ_in_a_number_are_not_similar_where_numbers_count():
    assert closest("pi-6", ["pi-5"], same_digits=True) == ""
    assert nearest("pi-6", ["pi-5", "pi-4"], same_digits=True) == "one of: pi-5, pi-4"


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (UsageError, 2),
        (EngineError, 4),
        (SourceError, 5),
        (UnreachableError, 5),
        (ImageError, 6),
        (BuildError, 7),
        (ResourceError, 8),
        (OutOfMemoryError, 8),
        (ProofError, 9),
        (StoreError, 10),
        (PublishError, 12),
    ],
)
def test_each_kind_of_error_has_the_exit_code_that_help_lists(kind, exit_code):
    assert kind("it failed").exit_code == exit_code
