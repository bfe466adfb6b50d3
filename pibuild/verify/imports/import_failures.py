"""The failures while Python code of a wheel is followed: errors that it raises, and errors that follow from them."""

from pibuild.verify.imports.exceptions import DOUBTS, ErrorValue, ImportFault, RaisedError
from pibuild.verify.imports.import_frames import Frame
from pibuild.verify.imports.known_functions import UNKNOWN


class ImportFailures:
    """The failures of an import."""

    def __init__(self) -> None:
        """Begin without a failure."""
        self.is_open = False
        """Whether a fault may end the import, or some code could not be followed."""
        self.last_fault: ImportFault | None = None
        self.doubts = set[str]()
        """What may have raised an exception since the innermost `try`: an import, a call of Python's library or any."""

    def fail(self, fault: ImportFault, frame: Frame, error: type[BaseException] | None = None) -> object:
        """Raise the error of something that fails."""
        self.note_fault(fault if fault.path else fault.at(frame.module.path))
        raise RaisedError(ErrorValue(error or fault.error, self.last_fault), is_certain=frame.is_certain)

    def note_fault(self, fault: ImportFault) -> None:
        """Keep what failed, for errors that follow from it."""
        self.last_fault = fault

    def note_doubt(self, doubt: str) -> None:
        """Keep that something may have raised an exception."""
        self.doubts.add(doubt)

    def be_consequence(self, error: type[BaseException], frame: Frame) -> object:
        """Raise an error if something has failed before that may be its cause; else return UNKNOWN."""
        if self.last_fault is None:
            return UNKNOWN
        raise RaisedError(ErrorValue(error, self.last_fault), is_certain=frame.is_certain)

    def raise_error(self, error: type[BaseException], text: str, frame: Frame) -> object:
        """Raise an error of the code's own."""
        return self.fail(ImportFault(kind="raise", error=error, subject=f"{error.__name__}: {text}"), frame)

    def leave(self, frame: Frame) -> object:
        """End Python, as sys.exit does."""
        fault = self.last_fault or ImportFault(
            kind="raise", error=SystemExit, subject="SystemExit", path=frame.module.path
        )
        raise RaisedError(ErrorValue(SystemExit, fault), is_certain=frame.is_certain)

    def swallow(self, raised: RaisedError) -> None:
        """Take an exception of code that may not be executed."""
        self.is_open = self.is_open or (raised.value.fault is not None and raised.value.fault.kind not in DOUBTS)
        self.note_doubt("call")
