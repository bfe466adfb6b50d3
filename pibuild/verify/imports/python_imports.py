"""What Python does with the files of an installed wheel: which extension modules it finds, and whether it needs them.

A module is found by the end of its file name, must be machine code for the system, and must define the function that
Python calls on import. A module that is not found is a fault if the wheel imports it for certain; it is none if the
wheel's Python code goes on without it. import_graph.py reads that code.

Source: importlib.machinery.FileFinder and _bootstrap_external.py of CPython 3.13 (packages come first, then extension
modules in the order of their suffixes, then .py files), import.c of 2.7.
"""

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from keyword import iskeyword
from pathlib import PurePosixPath
from typing import assert_never

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pibuild.config.pis import SystemPython
from pibuild.machinecode.elf import MAGIC
from pibuild.verify.binary import Binary
from pibuild.verify.findings import Finding
from pibuild.verify.imports.exceptions import ImportFault
from pibuild.verify.imports.import_graph import STRAY_NAMES, Failure, ImportGraph, Use
from pibuild.verify.imports.import_values import UNKNOWN_ENDING, Ending
from pibuild.verify.imports.standard_library import changing_modules
from pibuild.verify.numpy_versions import CompiledModule, module_findings, read_compiled_module
from pibuild.wheels.metadata import MAX_REQUIREMENT_LETTERS, is_text, read_metadata, requirement_or_none
from pibuild.wheels.python_tags import entry_name, module_suffixes
from pibuild.wheels.wheel import Wheel, WheelFormatError, wheel_name

_LIBRARY_SCHEMES = ("purelib", "platlib")
_IN_PREFIX = re.compile(r"[^/]+\.data/data/lib/python3[.\d]*/(?:site|dist)-packages/")
"""Where a virtual environment with this Python finds modules beside those of the other folders."""
_MODULE_FILE = re.compile(
    r"(?P<name>[^.]+)(?P<python>\.[\w-]*(?:cpython|abi3|cp\d|pypy|graalpy)[\w-]*)?[\w.-]*\.(?:so|pyd)"
)
"""The name of a file that may be an extension module of some Python and system."""
_OTHER_MACHINE = re.compile(r"(?i)x86|x64|amd64|i[3-6]86|win(?:32|64|dows)|darwin|macos|osx|ppc64|s390x|riscv")
"""What stands in the names of files and folders for machines that are no Pi."""
_NUMBER = re.compile(r"(?<=\.so)(\.\d+)+$")
"""What libraries have at their end, and no Python looks for."""
_ENTRY = re.compile(r"PyInitU?_\w+")
_C_API = re.compile(r"_?Py[A-Z_]")
_MAX_MODULES, _SHOWN_PROBLEMS = 5000, 20
_MAX_DEPTH, _MAX_NAME_LETTERS = 50, 255
"""Of folders in folders, and of a file's name in Linux."""
_MAX_PATH_BYTES = 64 << 10
"""Of a .pth file."""
_NOT_FOUND = "Python does not find it"
_SETTLE = "pibuild verify --run"
_FITTING = "a wheel that is built for this Python and machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFile:
    """A file that is an extension module by its name, for some Python and system."""

    path: str
    file_name: str
    binary: Binary | None
    """None if it is no ELF file, or a damaged one."""
    is_elf: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """An extension module, with a file for each Python, machine and system."""

    folder: str
    """Where it is installed, below the folder of all packages; empty at the top."""
    name: str
    """`__init__` for a package that is an extension module."""
    files: tuple[ModuleFile, ...]

    @property
    def dotted_name(self) -> str:
        """Return the name by which it is imported."""
        parts = [*(self.folder.split("/") if self.folder else ()), self.name]
        return ".".join(parts[:-1] if self.name == "__init__" else parts)

    @property
    def is_public(self) -> bool:
        """Whether none of its names begins with an underscore, so that users may import it."""
        return not any(part.startswith("_") for part in self.dotted_name.split("."))

    @property
    def is_for_linux(self) -> bool:
        """Whether it has a file for Linux at all."""
        return any(file.is_elf for file in self.files)


@dataclass(frozen=True, kw_only=True)
class WheelContents:
    """The files of a wheel, by the place where they are installed."""

    name: str
    is_any: bool
    """Whether a tag is for any platform."""
    sources: Mapping[str, bytes]
    """The Python files, by their path below the folder of all packages."""
    paths: frozenset[str]
    """All files there."""
    modules: tuple[Module, ...]
    machine_code: tuple[bytes, ...]
    """The bytes of the files that are machine code."""
    others: tuple[Binary, ...]
    """Machine code that is no extension module: libraries, programs."""
    import_names: tuple[str, ...]
    """Names by which users import what the wheel brings; see importable_names."""
    numpy: tuple[Requirement, ...]
    """What it requires of numpy, without extras and other conditions."""
    compiled: tuple[CompiledModule, ...]
    """The modules that use numpy's C API; none of numpy itself."""
    is_cut: bool
    """Whether it has more extension modules than are examined."""
    requires: frozenset[str]
    """The packages that it requires, on whatever condition."""
    path_files: Mapping[str, bytes] = field(default_factory=dict)
    """The .pth files that Python reads when it starts."""
    is_spread: bool = False
    """Whether some Pythons find modules of it that others do not find."""

    @cached_property
    def path_lines(self) -> tuple[str, ...]:
        """The lines of its .pth files: code that begins with `import`, and folders."""
        texts = (content[:_MAX_PATH_BYTES].decode("utf-8", "replace") for content in self.path_files.values())
        lines = (line.strip() for text in texts for line in text.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    @cached_property
    def path_folders(self) -> tuple[str, ...]:
        """The folders of the wheel in which its .pth files make Python look for modules."""
        return tuple(posixpath.normpath(line) for line in self.path_lines if not line.startswith(("import ", "/")))

    @cached_property
    def stems(self) -> frozenset[str]:
        """Its files there without the end of their names, and the folders."""
        return frozenset(name for path in self.paths for name in _names_of(path))

    @cached_property
    def graph(self) -> ImportGraph:
        """What its Python code imports."""
        names = [module.dotted_name for module in self.modules]
        folders = self.path_folders
        return ImportGraph(self.sources, self.import_names, names, self.standard_modules, self.paths, folders)

    @cached_property
    def standard_modules(self) -> frozenset[str]:
        """The modules of Python's own library that not every Python has, and for which the wheel has no file."""
        own = {PurePosixPath(path).name.partition(".")[0] for path in self.paths}
        own |= {part for path in self.paths for part in path.split("/")[:-1]}
        return frozenset(name for name in changing_modules() if name.partition(".")[0] not in own)

    @cached_property
    def uses(self) -> dict[str, Use]:
        """How the files of extension modules are imported, by their paths in the wheel."""
        return {file.path: self.use(module) for module in self.modules for file in module.files}

    def use(self, module: Module, failure: Failure = "broken") -> Use:
        """Return how an extension module is imported if that fails; users import one at the top level for certain."""
        name = module.dotted_name
        use: Use = "certain" if name in self._import_names else self.graph.use(name, failure)
        if use == "perhaps" and self._is_only_module and self.graph.is_needed_by_users(name, failure):
            return "certain"
        return use

    @cached_property
    def _is_only_module(self) -> bool:
        return sum(module.is_for_linux for module in self.modules) == 1

    @cached_property
    def _import_names(self) -> frozenset[str]:
        return frozenset(self.import_names)


def read_contents(wheel: Wheel, binaries: Sequence[Binary]) -> WheelContents:
    """Return the files of a wheel as Python sees them after installation."""
    try:
        name = wheel_name(wheel.file_name)
        tags, project = name.tags, str(name.name)
    except WheelFormatError:
        tags, project = frozenset(), ""
    by_path = {binary.path: binary for binary in binaries}
    grouped: dict[tuple[str, str], list[ModuleFile]] = {}
    sources, paths, module_paths, compiled = {}, set(), set(), []
    path_files, is_spread = {}, False
    machine_code = tuple(file.content for file in wheel.files if file.path in by_path)
    for file in wheel.files:
        place = _installed_path(file.path, wheel.dist_info)
        if place is None:
            is_spread = is_spread or bool(_IN_PREFIX.match(file.path))
            continue
        if place.endswith(".pth") and "/" not in place:
            path_files[place] = file.content
        paths.add(place)
        if place.endswith(".py"):
            sources[place] = file.content
        binary = by_path.get(file.path)
        if binary and project != "numpy" and (module := read_compiled_module(binary, file.content)):
            compiled.append(module)
        key = _module_key(place, binary)
        if key:
            module_paths.add(file.path)
            part = ModuleFile(
                path=file.path,
                file_name=PurePosixPath(place).name,
                binary=binary,
                is_elf=file.content.startswith(MAGIC),
            )
            grouped.setdefault(key, []).append(part)
    first = sorted(grouped.items())[:_MAX_MODULES]
    modules = tuple(Module(folder=key[0], name=key[1], files=tuple(files)) for key, files in first)
    return WheelContents(
        name=project,
        is_any=any(tag.platform == "any" for tag in tags),
        sources=sources,
        paths=frozenset(paths),
        modules=modules,
        machine_code=machine_code,
        others=tuple(binary for binary in binaries if binary.path not in module_paths),
        import_names=importable_names(wheel),
        numpy=tuple(_numpy_requirements(wheel)),
        compiled=tuple(compiled),
        is_cut=len(grouped) > _MAX_MODULES,
        requires=frozenset(_required_names(wheel)),
        path_files=path_files,
        is_spread=is_spread,
    )


def importable_names(wheel: Wheel) -> tuple[str, ...]:
    """Return the names of the packages and modules that a wheel is made for.

    These are Import-Name of METADATA, or the public ones at the top level; of a namespace package, the packages in it.
    """
    placed = ((_installed_path(file.path, wheel.dist_info), file.content) for file in wheel.files)
    paths = {place for place, content in placed if place is not None and _is_python(place, content)}
    there = {place for path in paths for place in _names_of(path)}
    stated = {name for name in read_metadata(wheel).import_names if name.replace(".", "/") in there}
    if stated:
        return tuple(sorted(stated))
    names = _top_level_names(paths)
    public = {name for name in names if not any(part.startswith("_") for part in name.split("."))} or names
    main = {name for name in public if name.partition(".")[0] not in STRAY_NAMES} or public
    return tuple(sorted(main))


def used_binaries(contents: WheelContents, python: str, bits: int) -> tuple[Binary, ...]:
    """Return the machine code that a Python can load or start: not modules for other Pythons, nor other machines."""
    modules_found = (module for module in contents.modules if not _is_hidden(contents, module))
    chosen = (_chosen_file(module, python, bits) for module in modules_found)
    modules = (file.binary for file in chosen if file and file.binary)
    return tuple(binary for binary in (*modules, *contents.others) if is_for(binary, bits))


def is_extension(contents: WheelContents, python: str, bits: int, name: str) -> bool:
    """Return whether a Python takes an extension module for a module of the wheel, even if it can't load its file."""
    modules = (module for module in contents.modules if module.dotted_name == name)
    return any(_chosen_file(module, python, bits) and not _is_hidden(contents, module) for module in modules)


def _is_hidden(contents: WheelContents, module: Module) -> bool:
    """Whether Python finds a package of the same name before an extension module."""
    return module.name != "__init__" and f"{module.folder}/{module.name}/__init__.py".lstrip("/") in contents.paths


def import_findings(
    contents: WheelContents, python: SystemPython, bits: int, ending: Ending = UNKNOWN_ENDING
) -> Iterator[Finding]:
    """Yield what keeps a Python from importing the wheel's modules, and notes on files that are not for it.

    `ending` is how the import of the wheel ends there.
    """
    problems = list(_problems(contents, python.version, bits))
    works = len(problems) < len(contents.modules)
    judged = [_judged(contents, *problem, works=works, ending=ending) for problem in problems]
    for outcome in ("fails", "unsure", "note"):
        yield from _first(finding for finding in judged if finding.outcome == outcome)
    if contents.is_cut:
        reason = f"the wheel has more than {_MAX_MODULES} extension modules; the others are not examined"
        yield Finding(outcome="unsure", check="python", reason=reason, remedy=_SETTLE)
    yield from _path_findings(contents)
    yield from _machine_findings(contents, bits)
    yield from _numpy_findings(contents, python, bits)


def broken_modules(contents: WheelContents, python: str, bits: int) -> dict[str, ImportFault]:
    """Return the extension modules that a Python can't import, by their names."""
    return {
        module.dotted_name: ImportFault(
            kind="extension",
            error=ModuleNotFoundError if reason == _NOT_FOUND else ImportError,
            subject=module.dotted_name,
            path=path,
        )
        for module, path, reason, _ in _problems(contents, python, bits)
    }


def _problems(contents: WheelContents, python: str, bits: int) -> Iterator[tuple[Module, str, str, str]]:
    """Yield each extension module that a Python can't import, with its path, the reason, and what the place has."""
    for module in contents.modules:
        if problem := _problem(contents, module, python, bits):
            yield module, *problem


def _first(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the first findings of an outcome, and how many more there are."""
    every = list(findings)
    yield from every[:_SHOWN_PROBLEMS]
    if len(every) > _SHOWN_PROBLEMS:
        reason = f"{len(every) - _SHOWN_PROBLEMS} more modules have such problems"
        yield replace(every[-1], path="", subject="", reason=reason, at_place="")


def _problem(contents: WheelContents, module: Module, python: str, bits: int) -> tuple[str, str, str] | None:
    """Return (path, reason, what the place has) if a Python can't import a module.

    Return None if it can, or has a Python file instead.
    """
    base = f"{module.folder}/{module.name}".lstrip("/")
    file = _chosen_file(module, python, bits)
    instead = [f"{base}/__init__.py"] if file else [f"{base}/__init__.py", f"{base}.py", f"{base}.pyc"]
    if not contents.paths.isdisjoint(instead):
        return None
    if not file:
        wanted = module_suffixes(python, bits)[0]
        return module.files[0].path, _NOT_FOUND, f"Python {python} looks for {wanted}"
    if file.binary and not _uses_python(file.binary, module.name) and contents.use(module) in ("mentioned", "unused"):
        return None  # a library that is named like a module, for ctypes or cffi
    name = module.folder.rpartition("/")[2] if module.name == "__init__" else module.name
    problem = _file_problem(file, entry_name(name, python), python, bits)
    return (file.path, *problem) if problem else None


def _uses_python(binary: Binary, module: str) -> bool:
    """Whether machine code is an extension module of this name, or uses Python's C API."""
    names = (*binary.elf.defined, *(symbol.name for symbol in binary.elf.undefined))
    return f"init{module}" in binary.elf.defined or any(map(_C_API.match, names))


def _file_problem(file: ModuleFile, entry: str, python: str, bits: int) -> tuple[str, str] | None:
    """Return why a Python can't import the file that it found, and what the place has; None if it can."""
    if file.binary is None:
        return None if file.is_elf else ("it is no machine code for Linux", "")
    if not is_for(file.binary, bits):
        return f"it is code for {file.binary.machine}", system_is(bits)
    if entry in _found_symbols(file.binary):
        return None
    entries = sorted(filter(_ENTRY.fullmatch, file.binary.elf.defined))
    has = f"; it defines {entries[0]}" if entries else ""
    return f"it does not define {entry}, which Python {python[0]} calls{has}", ""


def _found_symbols(binary: Binary) -> Collection[str]:
    """Return the symbols that the loader finds by its hash table."""
    return binary.elf.dynamic.definitions if binary.elf.dynamic else binary.elf.defined


def _judged(
    contents: WheelContents, module: Module, path: str, reason: str, at_place: str, *, works: bool, ending: Ending
) -> Finding:
    """Return the finding for a module that can't be imported: what it means depends on who imports it.

    `works` is whether another module of the wheel can be imported.
    """
    name, use = module.dotted_name, contents.use(module, "missing" if reason == _NOT_FOUND else "broken")
    if ending.fault and ending.fault.subject == name and ending.fault.kind == "extension":
        use = "certain"
    elif use == "certain" and ending.outcome == "completes":
        use = "guarded"
    finding = Finding(
        outcome="unsure", check="python", path=path, subject=name, reason=reason, at_place=at_place, remedy=_SETTLE
    )
    if use == "certain":
        reason = f"{reason}, and the import of the wheel needs it"
        return replace(finding, outcome="fails", reason=reason, remedy=_FITTING)
    harmless = replace(finding, outcome="note", remedy="")
    if not module.is_for_linux:
        reason = "it is no machine code for Linux; nothing shows that the wheel needs it there"
        return replace(harmless, reason=reason, at_place="")
    if use != "guarded" and ending.outcome == "completes" and _OTHER_MACHINE.search(f"{module.folder}/{module.name}"):
        use, reason = "guarded", f"{reason}; its name is that of another machine"
    match use:
        case "guarded":
            return replace(harmless, reason=f"{reason}; the wheel goes on without it")
        case "perhaps":
            return replace(finding, reason=f"{reason}; it is imported under a condition, or in a function")
        case "mentioned" | "unused":
            if use == "unused" and contents.is_any:
                return harmless
            is_lost = module.is_public and not works and "defines PyInit" not in reason
            is_failure = use == "unused" and is_lost
            return replace(finding, outcome="fails", remedy=_FITTING) if is_failure else finding
        case _:
            assert_never(use)


def _path_findings(contents: WheelContents) -> Iterator[Finding]:
    """Yield a finding for each .pth file because of which Python does not start, and a note for code in one."""
    for path, content in contents.path_files.items():
        finding = Finding(outcome="note", check="python", path=path, reason="")
        if not is_text(content):
            reason = "it is not UTF-8, and Python does not start with such a file beside its packages"
            yield replace(finding, outcome="fails", reason=reason, remedy="a wheel without this file")
        elif any(line.startswith(b"import") for line in content.splitlines()):
            yield replace(finding, reason="Python executes the code in it whenever Python starts, for any program")


def _machine_findings(contents: WheelContents, bits: int) -> Iterator[Finding]:
    """Yield a finding for each program that users start and that is code for another machine."""
    is_tool = not contents.import_names and not any(is_for(binary, bits) for binary in contents.others)
    for binary in contents.others:
        if ".data/scripts/" in binary.path and not is_for(binary, bits):
            reason = f"it is code for {binary.machine}"
            finding = Finding(outcome="note", check="loader", path=binary.path, reason=reason, at_place=system_is(bits))
            reason = f"{reason}, and the wheel has nothing else"
            yield replace(finding, outcome="fails", reason=reason) if is_tool else finding


def _numpy_findings(contents: WheelContents, python: SystemPython, bits: int) -> Iterator[Finding]:
    """Yield a finding if a module that is used works with another numpy only than the one that there may be."""
    used = {binary.path for binary in used_binaries(contents, python.version, bits)} if contents.compiled else set()
    modules = [module for module in contents.compiled if module.path in used]
    for finding in module_findings(modules, contents.numpy, python):
        is_needed = contents.uses.get(finding.path, "unused") in ("certain", "unused")
        yield finding if is_needed or finding.outcome != "fails" else replace(finding, outcome="unsure")


def _required_names(wheel: Wheel) -> Iterator[str]:
    for text in dict.fromkeys(read_metadata(wheel).requires_dist):
        if len(text) <= MAX_REQUIREMENT_LETTERS and (requirement := requirement_or_none(text)):
            yield canonicalize_name(requirement.name)


def _numpy_requirements(wheel: Wheel) -> Iterator[Requirement]:
    texts = dict.fromkeys(read_metadata(wheel).requires_dist)
    letters = 0
    for text in (text for text in texts if text.lower().startswith("numpy")):
        letters += len(text)
        if letters > MAX_REQUIREMENT_LETTERS:  # installation.py says so
            return
        requirement = requirement_or_none(text)
        if requirement and canonicalize_name(requirement.name) == "numpy" and not requirement.marker:
            yield requirement


def _installed_path(path: str, dist_info: str) -> str | None:
    """Return where a file is installed below the folder of all packages; None if it is installed elsewhere."""
    top, _, rest = path.partition("/")
    if top == dist_info or path.count("/") > _MAX_DEPTH or len(path.rpartition("/")[2]) > _MAX_NAME_LETTERS:
        return None
    if top.endswith(".data"):
        scheme, _, place = rest.partition("/")
        return place if scheme in _LIBRARY_SCHEMES and place else None
    return path


def _module_key(place: str, binary: Binary | None) -> tuple[str, str] | None:
    """Return (folder, name) of the extension module that a file is; None if it is none."""
    folder, _, file_name = place.rpartition("/")
    match = _MODULE_FILE.fullmatch(_NUMBER.sub("", file_name))
    if match and match[0] != file_name and not (binary and entry_name(match["name"], "3") in binary.elf.defined):
        return None  # a library
    if (
        not match
        or not match["name"].replace("-", "_").isidentifier()  # importlib imports names with a hyphen, too
        or not all(part.isidentifier() for part in folder.split("/") if part)
    ):
        return None
    name = match["name"]
    if binary is None:
        return folder, name
    defined = binary.elf.defined
    if name.endswith("module") and f"init{name.removesuffix('module')}" in defined:  # as Python 2 names them
        return folder, name.removesuffix("module")
    is_module = bool(match["python"]) or f"init{name}" in defined or any(map(_ENTRY.fullmatch, defined))
    return (folder, name) if is_module else None


def _chosen_file(module: Module, python: str, bits: int) -> ModuleFile | None:
    """Return the file that a Python takes for a module; None if it finds none."""
    by_name = {file.file_name: file for file in module.files}
    names = (module.name + suffix for suffix in module_suffixes(python, bits))
    return next((by_name[name] for name in names if name in by_name), None)


def is_for(binary: Binary, bits: int) -> bool:
    """Return whether machine code is for a system with 32 or 64 bits."""
    return binary.elf.is_arm if bits == 32 else binary.elf.is_aarch64


def system_is(bits: int) -> str:
    """Return what machine code a system needs, as the last part of a finding."""
    return f"the system is {bits}-bit ARM"


def _is_python(place: str, content: bytes) -> bool:
    """Whether a file is a module of Python: a Python file, or what is named like an extension module and no library."""
    match = _MODULE_FILE.fullmatch(place.rpartition("/")[2])
    if not match:
        return place.endswith(".py")
    name = match["name"]
    if match["python"] or f"init{name.removesuffix('module')}\0".encode() in content:
        return True
    if name.startswith("lib"):
        return f"PyInit_{name}\0".encode() in content
    return not content.startswith(MAGIC) or b"PyInit" in content


def _names_of(path: str) -> Iterator[str]:
    """Yield the folders of a file, and the file without the end of its name."""
    folders, slash, file_name = path.rpartition("/")
    yield f"{folders}{slash}{file_name.partition('.')[0]}"
    yield from accumulate(folders.split("/"), lambda outer, inner: f"{outer}/{inner}")


def _top_level_names(paths: Iterable[str]) -> set[str]:
    """Return the dotted names of the modules and packages at the top; of a namespace package, those in it."""
    packages = {path.rpartition("/")[0] for path in paths if re.fullmatch(r"(.*/)?__init__\.[\w.-]+", path)}
    names = set()
    for path in paths:
        folders, _, file_name = path.rpartition("/")
        parts = folders.split("/") if folders else []
        outer = next(
            ("/".join(parts[:end]) for end in range(1, len(parts) + 1) if "/".join(parts[:end]) in packages), None
        )
        if outer:
            names.add(outer)
        else:
            names.add("/".join([*parts, file_name.partition(".")[0]]))
    return {name.replace("/", ".") for name in names if all(map(_is_name, name.split("/")))}


def _is_name(part: str) -> bool:
    return part.isidentifier() and not iskeyword(part)
