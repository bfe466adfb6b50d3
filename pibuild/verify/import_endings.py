"""How the import of a wheel ends at each place, where that can be told.

Every module that users import is followed. A place that answers all questions of an import as another place did has the
same ending, so that most wheels are followed once. The size of the code that is followed for all places is limited.
"""

import re
from functools import cached_property, partial

from packaging.version import Version

from pibuild.config.pis import System, SystemPython
from pibuild.config.system_libraries import finds_library, known_absent, system_library
from pibuild.verify.imports.code_budget import CodeBudget
from pibuild.verify.imports.exceptions import ImportFault
from pibuild.verify.imports.import_place import ImportPlace, Question
from pibuild.verify.imports.import_values import UNKNOWN_ENDING, Ending, ImportValues
from pibuild.verify.imports.known_functions import VersionInfo
from pibuild.verify.imports.lacking_modules import ModuleFaults
from pibuild.verify.imports.python_imports import broken_modules, is_extension, is_for
from pibuild.verify.imports.standard_library import bringing_package, is_changing_name, missing_modules, missing_name
from pibuild.verify.installed_files import SITE, InstalledFiles
from pibuild.verify.named_loads import lacks_symbol

_PYTHON_3 = Version("3")


class ImportEndings:
    """The endings of a wheel's import."""

    def __init__(self, files: InstalledFiles) -> None:
        """Take the wheel's files; the code is followed when it is asked about."""
        self._files, self._contents = files, files.contents
        self._endings: dict[tuple[str, str, int], Ending] = {}
        self._known: list[tuple[dict[Question, object], Ending]] = []
        self._budget = CodeBudget(keeps_trees=True)

    def at(self, system: System, python: SystemPython, bits: int) -> Ending:
        """Return how the import ends at a place; open for Python 2, whose rules are others."""
        if Version(python.version) < _PYTHON_3 or not self._contents.import_names:
            return UNKNOWN_ENDING
        key = (system.name, python.version, bits)
        if key not in self._endings:
            self._endings[key] = self._ending(system, python, bits)
        return self._endings[key]

    def _ending(self, system: System, python: SystemPython, bits: int) -> Ending:
        place = self._place(system, python, bits)
        for answers, ending in self._known:
            if place.answers_alike(answers):
                return ending
        fresh = self._place(system, python, bits)
        contents = self._contents
        values = ImportValues(
            contents.sources, contents.paths, place=fresh, budget=self._budget, folders=contents.path_folders
        )
        endings = [values.ending(name) for name in self._contents.import_names]
        raised = [ending for ending in endings if ending.outcome == "raises"]
        is_open = any(ending.outcome == "open" for ending in endings)
        ending = raised[0] if raised else UNKNOWN_ENDING if is_open else endings[0]
        self._known.append((fresh.answers, ending))
        return ending

    def release(self) -> None:
        """Forget the code, which takes much memory."""
        self._budget.release()

    @cached_property
    def _modules(self) -> ModuleFaults:
        return ModuleFaults(self._contents)

    def _place(self, system: System, python: SystemPython, bits: int) -> ImportPlace:
        broken = broken_modules(self._contents, python.version, bits)
        missing = missing_modules(python.version)
        requires, version = self._contents.requires, Version(python.full_version)

        def module(name: str) -> ImportFault | None:
            if name in broken:
                return broken[name]
            if name in missing and name in self._contents.standard_modules and bringing_package(name) not in requires:
                is_certain = not requires and bringing_package(name) != "setuptools"
                return ImportFault(kind="standard", error=ModuleNotFoundError, subject=name, is_certain=is_certain)
            return self._modules.module(name)

        return ImportPlace(
            bits=bits,
            python=VersionInfo(version.major, version.minor, version.micro),
            module=module,
            part=partial(self._part, python.version),
            is_extension=partial(is_extension, self._contents, python.version, bits),
            data_file=self._modules.data_file,
            is_required=self._modules.is_required,
            library=partial(self._library, system.name, bits),
            file=partial(self._file, bits),
            search=partial(finds_library, system.name, bits),
            symbol=partial(self._symbol, system.name, bits, python.version),
            searched_symbol=partial(self._symbol, system.name, bits, python.version, is_searched=True),
        )

    def _part(self, python: str, name: str) -> ImportFault | None:
        """Return the fault of a name that neither this Python's library nor a package of the wheel has."""
        if not is_changing_name(name):
            return self._modules.part(name)
        if not missing_name(python, name):
            return None
        module, _, part = name.rpartition(".")
        encoded = re.escape(module.encode()), part.encode()
        sets_it = re.compile(rb"\b(%b\.%b\s*=|setattr\(\s*%b\b)" % (*encoded, encoded[0]))
        is_certain = not self._contents.graph.matches(sets_it)
        return ImportFault(kind="standard_name", error=ImportError, subject=name, is_certain=is_certain)

    def _library(self, system: str, bits: int, name: str) -> ImportFault | bool:
        """Return whether ld.so finds a library by its name: a fault if it does not, False if that is not known."""
        if system_library(system, bits, name):
            return True
        if known_absent(system, bits, name) or name in self._files.places_by_file_name:
            return ImportFault(kind="library", error=OSError, subject=name, is_certain=False)
        return False

    def _file(self, bits: int, place: str) -> ImportFault | bool:
        """Return whether a path is a library of the wheel: a fault if there is none, or one for another machine."""
        full = f"{SITE}/{place}"
        binary = self._files.places.get(full)
        if full not in self._files.places or place in self._files.plain or (binary and not is_for(binary, bits)):
            return ImportFault(kind="library", error=OSError, subject=place.rpartition("/")[2], is_certain=False)
        return binary is not None

    def _symbol(
        self, system: str, bits: int, python: str, library: str, symbol: str, *, is_searched: bool = False
    ) -> ImportFault | None:
        if not lacks_symbol(system, bits, python, library, symbol, is_searched=is_searched):
            return None
        return ImportFault(
            kind="symbol",
            error=AttributeError,
            subject=symbol,
            library=library,
            is_searched=is_searched,
            is_certain=False,
        )
