"""Findings of checks on a wheel: a reason why it fails, a reason why the verdict is unsure, or a note."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Check = Literal["file", "pip", "python", "cpu", "loader", "symbols", "pages", "numpy", "device"]
"""The parts of the judgement; each is a heading of docs/verify.md."""
Outcome = Literal["runs", "unsure", "fails"]
"""The verdict on a wheel at one place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check found. `fails` and `unsure` decide the verdict where the check applies."""

    outcome: Literal["fails", "unsure", "note"]
    check: Check
    reason: str
    """A sentence that does not repeat the path: `needs GLIBC_2.34 (for dlsym)`."""
    at_place: str = ""
    """The end of the sentence, if it differs from place to place: `bullseye has 2.31`."""
    path: str = ""
    """The file in the wheel."""
    subject: str = ""
    """The symbol, instruction, library or tag that the finding is about."""
    remedy: str = ""
    """The remedy; for `unsure`, how the question can be settled."""

    @property
    def sentence(self) -> str:
        """Return the reason with the file that it is about."""
        sentence = f"{self.path}: {self.reason}" if self.path else self.reason
        return f"{sentence}; {self.at_place}" if self.at_place else sentence


def worst_outcome(findings: Iterable[Finding]) -> Outcome:
    """Return `fails` if a finding fails, else `unsure` if one is unsure, else `runs`: notes don't count."""
    outcomes = {finding.outcome for finding in findings}
    return "fails" if "fails" in outcomes else "unsure" if "unsure" in outcomes else "runs"
