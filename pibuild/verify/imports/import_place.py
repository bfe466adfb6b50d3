"""What the import of a wheel finds at a place: modules, libraries and their symbols, and what Python tells of itself.

Each question is kept with its answer: two places that answer all of them alike have the same import.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pibuild.verify.imports.exceptions import ImportFault
from pibuild.verify.imports.known_functions import UNKNOWN, VersionInfo

Question = tuple[str, ...]
_WINDOWS_MODULES = frozenset(
    ("_msi", "_overlapped", "_winapi", "_winreg", "_wmi", "msilib", "msvcrt", "nt", "winreg", "winsound")
)
"""Modules of Python's own library that only Python for Windows has."""
_WINDOWS_NAMES = frozenset(
    ("FormatError", "GetLastError", "OleDLL", "WINFUNCTYPE", "WinDLL", "WinError", "oledll", "windll")
)
"""What only Python for Windows has in ctypes."""


def _nothing(*_: object) -> None:
    """Return that nothing fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlace:
    """A Python of a release, for one wheel: what it lacks. By default, it lacks nothing, and nothing else is known.

    Each field is a kind of question. Those that are functions take the words of the question.
    """

    bits: int = 0
    python: VersionInfo | None = None
    module: Callable[[str], ImportFault | None] = _nothing
    """Takes the name of a module that the code imports; what kind of error follows is in the fault's kind."""
    part: Callable[[str], ImportFault | None] = _nothing
    """Takes the name of something that is a module of a package, or a name in it."""
    is_extension: Callable[[str], bool | None] = _nothing
    """Takes the name of a module; returns whether Python takes an extension module for it, not a Python file."""
    is_required: Callable[[str], bool | None] = _nothing
    """Takes the name of a module of another package; returns whether the wheel requires a package of this name."""
    library: Callable[[str], ImportFault | bool | None] = _nothing
    """Takes the name of a library of the system, without a folder; returns True if it is certainly there."""
    file: Callable[[str], ImportFault | bool | None] = _nothing
    """Takes the path of a library, below the folder of all packages; returns True if ctypes can load it."""
    data_file: Callable[[str], ImportFault | None] = _nothing
    """Takes the path of a file that the code reads, below the folder of all packages."""
    search: Callable[[str], bool | None] = _nothing
    """Returns whether ctypes.util.find_library finds a library; None if that is not known."""
    symbol: Callable[[str, str], ImportFault | None] = _nothing
    """Takes the name of a library, which is empty for Python's program, and a symbol."""
    searched_symbol: Callable[[str, str], ImportFault | None] = _nothing
    """Takes a name that find_library gets, and a symbol."""
    answers: dict[Question, object] = field(default_factory=dict)

    def answer(self, *question: str) -> object:
        """Return what the place answers to a question, and keep both."""
        if question not in self.answers:
            self.answers[question] = self._answer(*question)
        return self.answers[question]

    def fault(self, *question: str) -> ImportFault | None:
        """Return what fails; None if nothing does."""
        answer = self.answer(*question)
        return answer if isinstance(answer, ImportFault) else None

    def answers_alike(self, answers: Mapping[Question, object]) -> bool:
        """Return whether another place's questions have the same answers here."""
        return all(self.answer(*question) == answer for question, answer in answers.items())

    def _answer(self, kind: str, *words: str) -> object:
        fault = _windows_fault(kind, *words)
        field_ = getattr(self, kind)
        answer = fault or (field_(*words) if callable(field_) else field_)
        return UNKNOWN if answer is None and not callable(field_) else answer


def _windows_fault(kind: str, name: str = "", *_: str) -> ImportFault | None:
    """Return the fault of a module or a name that only Python for Windows has."""
    if kind == "module" and name.partition(".")[0] in _WINDOWS_MODULES:
        return ImportFault(kind="windows", error=ModuleNotFoundError, subject=name)
    if kind == "part" and name.startswith("ctypes.") and name.removeprefix("ctypes.") in _WINDOWS_NAMES:
        return ImportFault(kind="windows", error=ImportError, subject=name)
    return None
