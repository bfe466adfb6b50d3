"""The values of pibuild: requests, plans, recipes, targets, and nights with their outcomes.

Values only: frozen, with tuples inside. config reads them from YAML; build's planning makes a plan of a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationInfo
from pydantic_core import PydanticCustomError

from pibuild.errors import nearest

STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
"""How pydantic reads these values from YAML: an unknown key is an error."""


def _refused(_value: Any) -> None:  # noqa: ANN401  whatever the YAML holds
    raise PydanticCustomError("computed", "pibuild sets this itself; remove the key")


COMPUTED = BeforeValidator(_refused)
"""Marks a field that pibuild computes: it is not a key of the file."""


def kind_of(*kinds: str) -> Discriminator:
    """Return a discriminator for kinds of mappings: each kind has a key with its name. The tag of `git` is `<git>`.

    If several of these keys are there, the first kind counts.
    """

    def tag(value: Any) -> str | None:  # noqa: ANN401  whatever the YAML holds
        return next((f"<{kind}>" for kind in kinds if isinstance(value, dict) and kind in value), None)

    message = f"expected a mapping with one of the keys {', '.join(kinds)}"
    return Discriminator(tag, custom_error_type="no_kind", custom_error_message=message)


SESSION_LABEL = "pibuild.session"
"""Label of every container: the session of the process that made it."""
STORE_LABEL = "pibuild.store"
"""Label of every container: the id of its store. The store's files show whether the session has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitPlace:
    """A commit of a repository, from any clone that holds it."""

    git: str
    """`owner/name` on the forge; mirrors are folders or servers of bare clones."""
    commit: str
    """40 lowercase hex digits."""
    subdir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePlace:
    """A tar or zip that an upstream project serves."""

    archive: str
    """The URL; never that of a package registry."""
    sha256: str
    subdir: str = ""
    git: str = ""
    """`owner/name`; with `commit`, the archive can be made again from a clone, byte for byte."""
    commit: str = ""
    prefix: str = ""
    """The folder in the archive, with its closing slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPlace:
    """One file of a Debian source package, found through apt's signed index."""

    debian: str
    """Name of the source package."""
    suite: str
    file: str
    sha256: str
    subdir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PypiPlace:
    """One file of a Python package, through pip."""

    pypi: str
    version: str
    file: str
    sha256: str
    subdir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NpmPlace:
    """The tarball of an npm package, through npm."""

    npm: str
    version: str
    sha256: str
    subdir: str = ""


Place = Annotated[
    Annotated[ArchivePlace, Tag("<archive>")]
    | Annotated[DebianPlace, Tag("<debian>")]
    | Annotated[PypiPlace, Tag("<pypi>")]
    | Annotated[NpmPlace, Tag("<npm>")]
    | Annotated[GitPlace, Tag("<git>")],
    kind_of("archive", "debian", "pypi", "npm", "git"),  # an archive may have `git`, too
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A pinned input: one tree, identified by its hash, that one or more places have."""

    __pydantic_config__ = STRICT
    name: Annotated[str, COMPUTED] = ""
    """Its key in recipe.yaml."""
    places: tuple[Place, ...]
    tree: str = ""
    """sha256 of the tree (see trees.tree); every place must give exactly this. recipe.yaml leaves it out if `file` is
    given and a place serves that file: its sha256 tells it."""
    into: str = ""
    """Folder under the build's `src/`; in recipe.yaml by default the name without its version."""
    file: str = ""
    """If given, the tree is this one file: a download as it is, or the file of this name in a place's subdir."""
    keep: tuple[str, ...] = ()
    """Patterns of the paths that stay; all if empty. Applied to every place before hashing."""
    drop: tuple[str, ...] = ()
    """Patterns of the paths that are removed."""
    domain: Annotated[str, COMPUTED] = ""
    """The origin of a source that is not pinned: a ref, or a person's folder. Each domain has its own compiler
    cache."""


def _named_sources(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401  whatever the YAML holds
    """Replace names by the sources of the validation's context; a list within the list counts as its names."""
    if not isinstance(value, list):
        return value
    names = [name for entry in value for name in (entry if isinstance(entry, list) else [entry])]
    sources = (info.context or {}).get("sources", {})
    return [sources[name] for name in _existing(names, info) if name in sources]


def _existing(names: Sequence[Any], info: ValidationInfo) -> Sequence[str]:
    """Return names of sources. Raises an error with all names that no source has, if the sources are valid."""
    if not all(isinstance(name, str) for name in names):
        raise PydanticCustomError("no_such_name", "expected the names of sources; write each in quotes")
    defined = (info.context or {}).get("sources")
    if defined is not None and (unknown := [name for name in names if name not in defined]):
        hints = [f"there is no source {name!r}; {nearest(name, defined) or 'define it'}" for name in unknown]
        raise PydanticCustomError("no_such_name", "{faults}", {"faults": "; ".join(hints)})
    return names


def _with_names(sources: dict[str, Source], info: ValidationInfo) -> dict[str, Source]:
    """Return sources that have their names. The validators of the fields after this one find them in the context."""
    named = {name: replace(source, name=name) for name, source in sources.items()}
    if info.context is not None:
        info.context["sources"] = named
    return named


SOURCE_NAMES = BeforeValidator(_named_sources)
"""Marks sources that the file lists by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of what a recipe makes."""

    version: str
    sources: Annotated[tuple[Source, ...], SOURCE_NAMES]
    pythons: tuple[str, ...] = ()
    """The Pythons that it supports; empty if it does not depend on Python."""
    needs: tuple[str, ...] = ()
    """Recipes whose artifacts (for the same target and Python) the build uses."""
    proven_with: tuple[str, ...] = ()
    """Recipes whose artifacts are on the device when the wheel is proven, but not in the wheel."""
    needs_without_neon: tuple[str, ...] = ()
    """Further needs, for a target without NEON."""
    dependencies: tuple[str, ...] = ()
    """Recipes of the wheel's dependencies: each makes a compiled wheel, or many in pure Python."""
    targets: tuple[str, ...] | None = None
    """Targets that it can be built for; None for every target."""
    proven_on: tuple[str, ...] | None = None
    """Targets for which a wheel of it has been proven; None for every target.

    For another target, it is built only if its version is asked for.
    """
    script: str = "build.sh"
    """The file of the recipe's folder that builds it."""
    files: Annotated[tuple[Path, ...], COMPUTED] = ()
    """The files of the recipe's folder that the build sees."""
    digest: Annotated[str, COMPUTED] = ""
    """sha256 over these files."""

    def is_for(self, target: "Target") -> bool:
        """Return whether it can be built for a target."""
        return self.targets is None or target.name in self.targets

    def is_proven_on(self, target: "Target") -> bool:
        """Return whether a wheel of it has been proven for a target."""
        return self.proven_on is None or target.name in self.proven_on


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofDevice:
    """An emulated Pi on which a target's wheels are proven."""

    __pydantic_config__ = STRICT
    model: str
    """A board: a name of config/pis.yaml."""
    cpu: str
    """Its CPU, as the emulator of the device's image spells it."""
    page_bytes: int = 4096
    """The size of a memory page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A kind of Pi: toolchains/NAME.yaml, the single home of what differs between targets."""

    __pydantic_config__ = STRICT
    name: Annotated[str, COMPUTED] = ""
    """The file's name without its suffix."""
    models: str
    """The Pis that it is for, as text for people."""
    aliases: tuple[str, ...]
    """Other names that `--target` accepts."""
    bits: Literal[32, 64]
    """The width of its system's addresses: 32 is ARM, 64 AArch64."""
    compiler: str
    triple: str
    arch_flags: str
    """Flags that the compiler's wrappers always pass."""
    cflags: str
    """Flags for tuning that recipes pass."""
    runtime: Literal["built", "debian"]
    """`built` if the distribution's runtime objects have instructions that the target lacks."""
    libstdcxx: Literal["static"]
    glibc_floor: str
    machine: str
    """The output of `uname -m` on the Pi."""
    platform_tag: str
    cmake_processor: str
    neon: bool
    elf_cpu_arch: Literal["v6KZ", "v7", "none"]
    """The highest Tag_CPU_arch, as readelf spells it: `v6KZ`; `none` for 64 bits: such files have no attributes."""
    elf_fp_arch: Literal["VFPv2", "VFPv3", "VFPv4", "none"]
    """The highest Tag_FP_arch: `VFPv2`."""
    elf_simd: Literal["none", "required", "base"]
    """Whether SIMD instructions are forbidden or required; `base` if every CPU of this architecture has them."""
    runtime_allowed_functions: tuple[str, ...]
    """Patterns of the runtime's functions that may have instructions beyond these limits; with a second word, only of
    that kind. The toolchain image is checked with these."""
    elf_allowed_functions: tuple[str, ...]
    """Further patterns, for what recipes compile."""
    device_cpu: str
    """CPU model of the emulated Pi, as qemu-arm -cpu spells it."""
    device_model: str
    """The board that is emulated, the oldest that the target serves: a name of config/pis.yaml."""
    further_devices: tuple[ProofDevice, ...] = ()
    """The other devices on which each wheel is proven."""
    toolchain_image: str = "toolchain"
    """The folder of dockerfiles/ that makes its toolchain."""
    device_image: str = "device"
    """The folder of dockerfiles/ that makes its device."""
    device_system: str = ""
    """The release of Raspberry Pi OS whose userland the device has; empty if the device's image makes its own."""

    @property
    def devices(self) -> tuple[ProofDevice, ...]:
        """The devices on which each wheel is proven."""
        return (ProofDevice(model=self.device_model, cpu=self.device_cpu), *self.further_devices)

    @property
    def allowed_functions(self) -> tuple[str, ...]:
        """The patterns that a wheel is checked with; it contains parts of the runtime."""
        return self.runtime_allowed_functions + self.elf_allowed_functions

    @property
    def env(self) -> tuple[tuple[str, str], ...]:
        """The variables that a recipe's script gets."""
        return (
            ("PIBUILD_TRIPLE", self.triple),
            ("PIBUILD_MACHINE", self.machine),
            ("PIBUILD_CMAKE_PROCESSOR", self.cmake_processor),
            ("PIBUILD_NEON", str(int(self.neon))),
            ("PIBUILD_CFLAGS", self.cflags),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTree:
    """How a person's own tree is recognized. It replaces the source that has the recipe's name as folder."""

    file: str
    """The file with the tree's version."""
    version: str
    """The pattern that finds the version, in parentheses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one thing is built from pinned sources: data and a shell script."""

    __pydantic_config__ = STRICT
    name: str
    summary: str
    per: tuple[Literal["target", "python"], ...]
    image: Literal["builder", "toolchain"]
    files: tuple[str, ...]
    """Patterns of the files in the recipe's folder that the build sees; `{version}` stands for the release's."""
    sources: Annotated[dict[str, Source], AfterValidator(_with_names)]
    """By name. This field stands before those that list sources by their names."""
    releases: tuple[Release, ...]
    folder: Annotated[Path, COMPUTED] = Path()
    """Where recipe.yaml and the files are."""
    extras: dict[str, str] = field(default_factory=dict)
    """What `--with` can add beside the wheel: a summary by name."""
    own_tree: OwnTree | None = None
    """How the version of a person's own tree is found; None if the recipe can't build such a tree."""
    memory_gb: float = 0.0
    """Memory that one container needs."""
    disk_gb: float = 0.0
    """Free space that the engine's disk needs when the build starts."""
    has_cache: Annotated[bool, Field(alias="cache")] = False
    """Whether the containers of an image share /work/cache, so that an interrupted build continues."""
    device: str = ""
    """Folder on the device where the artifact is when a wheel is proven; `{python}` stands for the version."""
    proof: str = ""
    """Script of pibuild/device that proves the artifact's wheel; empty if it holds none."""
    tools: Annotated[tuple[str, ...], AfterValidator(_existing)] = ()
    """Names of the sources that only the build uses; no part of them is in the artifact."""
    package: str = ""
    """The wheel's name for pip, if it is not the recipe's."""
    remote: Literal["", "bazel", "cmake"] = ""
    """The program that starts the compile actions which `remote_execution` sends to other machines; empty if there is
    none."""
    replaces: str = ""
    """Name of the recipe that this one succeeds: where both make a proven wheel, this one is the default."""

    @property
    def package_name(self) -> str:
        """The name by which pip installs the wheel."""
        return self.package or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked for. A part that the person left open is None."""

    target: str | None
    python: str | None
    recipe: str | None
    version: str | None
    extras: tuple[str, ...] = ()
    """Names of what is made beside the wheel."""
    without: tuple[str, ...] = ()
    """Sources, by their folder, that are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where the base of all images comes from: dockerfiles/base/base.yaml."""

    __pydantic_config__ = STRICT
    suite: str
    variant: str
    """mmdebstrap's variant."""
    components: tuple[str, ...]
    repository: str
    digest: str
    """Digest of the same suite in a registry of images, `sha256:…`."""

    @property
    def pinned(self) -> str:
        """The image's name in its registry."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, named by the hash of everything that goes into it, with the versions of its packages."""

    name: str
    reference: str
    """Its name in the engine. If it was made of other versions than its lock has, `locked` and a hash of those."""
    locked: str
    """Its name if it is made of the versions that its lock has."""
    folder: Path
    args: tuple[tuple[str, str], ...]
    parents: tuple["Image", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Userland:
    """The system of a device that is not the one of proofs; its keys are ARGs of Dockerfiles, like the target's."""

    image: str
    """The image that makes it."""
    os: str
    archive: str
    """URL of the archive that has its packages; Debian's if empty."""
    archive_key: str
    """Fingerprint of the key that signs that archive."""
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a recipe makes for one target and Python."""

    key: str
    recipe: Recipe
    release: Release
    target: Target | None
    python: str | None
    image: Image
    env: tuple[tuple[str, str], ...]
    needs: tuple["Artifact", ...]

    @property
    def title(self) -> str:
        """Its name for people: `numpy 2.0.2 for pi-one, Python 3.11`."""
        scope = [self.target.name] if self.target else []
        scope += [f"Python {self.python}"] if self.python else []
        return f"{self.recipe.name} {self.release.version}" + (f" for {', '.join(scope)}" if scope else "")

    @property
    def slug(self) -> str:
        """Its name for files and image tags: `numpy-pi-one-3.11`."""
        return "-".join(part for part in (self.recipe.name, self.target and self.target.name, self.python) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The decisions for a request: the recipe, the release, the artifacts and the images."""

    target: Target
    python: str
    wheel: Artifact
    version: str
    """The wheel's version: the release's, or a nightly's."""
    artifacts: tuple[Artifact, ...]
    """Everything that the wheel and its proof need, each after its needs; the wheel's artifact is the last."""
    device: Image
    proof_digest: str
    """Digest of the files that judge the wheel."""
    key: str
    """The hash of the artifact's key and of all that judges it: equal key, equal proven wheel."""
    reason: str
    """Why this recipe and release were chosen."""

    @property
    def title(self) -> str:
        """Its name for people: `tensorflow 1.12.3 for pi-one, Python 3.4`."""
        return self.wheel.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheelhouse:
    """A wheel with its dependencies: all that pip needs to install it."""

    plan: Plan
    """The plan of the wheel itself."""
    compiled: tuple[Plan, ...]
    """Plans of the compiled dependencies, each of which is proven by itself, too."""
    packages: tuple[Artifact, ...]
    """Artifacts with wheels in pure Python, in `wheel/`."""
    installed: tuple[Artifact, ...]
    """What is on the device before pip runs: only the Python."""
    key: str

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.plan.title}, with its dependencies"

    @property
    def reason(self) -> str:
        """Why this recipe and release were chosen."""
        return f"{self.plan.reason}, with its dependencies"

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What it needs beyond the needs of its wheels."""
        return self.packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one container may use, and the user that it runs as."""

    jobs: int
    cpus: int
    """How many processors the engine has; a container gets one for each job, but no more than these."""
    memory_bytes: int
    deadline_s: float
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command in one container without a network."""

    image: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, Path], ...]
    """(folder in the container, tar on the machine), unpacked there in this order."""
    limits: Limits
    labels: tuple[tuple[str, str], ...]
    cache: str = ""
    """The engine's volume at /work/cache; none if empty."""
    cache_from: str = ""
    """The volume that a new cache begins as a copy of; none if empty. It is not written."""
    volumes: tuple[str, ...] = ()
    """Folders in the cache that are not in its volume, but empty at each start."""
    stdin: Literal["", "pipe", "terminal"] = ""
    """What the command reads from; nothing if empty."""
    shared: str = ""
    """The engine's volume at SHARED, which another container has, too; none if empty."""
    has_network: bool = False
    """Whether it has the network of the engine's machine; only programs that are pinned run with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a container ended."""

    exit_code: int
    out_of_memory: bool
    timed_out: bool
    wall_s: float
    disk_full: bool = False
    """Whether it was stopped because the engine's disk was nearly full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a container cost."""

    wall_s: float
    cpu_s: float


CellStatus = Literal["built", "unchanged", "failed"]
"""`built`: made and proven this night. `unchanged`: the proven wheel existed. `failed`: there is no proven wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One (recipe version, target, Python) of the nightly matrix."""

    recipe: str
    version: str
    """The release of the recipe."""
    target: str
    python: str
    ref: str = ""
    """A branch or tag of the source's repository, looked up each night; empty for the pinned release."""
    with_dependencies: bool = False
    """Whether the wheel is proven and published together with its dependencies."""
    is_beside: bool = False
    """Whether the cell exists only as a dependency of another cell."""

    @property
    def id(self) -> str:
        """Name for people and files: `tflite-runtime-2.14.1-pi-one-3.11`; a ref takes the place of the version."""
        ref = "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in self.ref)
        return f"{self.recipe}-{ref or self.version}-{self.target}-{self.python}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutcome:
    """The result of one cell in one night."""

    cell: Cell
    status: CellStatus
    key: str
    """Of the plan; empty if no plan could be made."""
    began: str
    """UTC, ISO 8601 with seconds, as all times of a night."""
    wall_s: float
    cpu_s: float = 0.0
    """Of the containers that this cell started; 0 if nothing was built."""
    commit: str = ""
    """The commit that `ref` named, 40 hex digits."""
    wheel: str = ""
    """File name of the proven wheel; this and the next three are empty or 0 if there is none."""
    sha256: str = ""
    size_bytes: int = 0
    checks: int = 0
    """Number of passed checks: of the file, and on the device."""
    instructions: dict[str, int] = field(default_factory=dict)
    """Guest instructions of one inference by model, if the proof counts them."""
    cause: str = ""
    """The error message of a failed cell: several lines."""
    failed_at: str = ""
    """The key of the artifact or image that failed; cells that share it failed for one cause."""
    log: str = ""
    """Name of the failed container's log in the state folder's `logs/`; empty if there is none."""
    changed: tuple[str, ...] = ()
    """What differs from the cell's last proven wheel, a few words each: `source tensorflow`, `image toolchain`."""


RebuildStatus = Literal["equal", "different", "failed"]
"""How an artifact that was built again compares with the store's; `failed`: it could not be built again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOutcome:
    """An artifact that a night built again without cache, to compare it with the store's."""

    key: str
    name: str
    """For people: `numpy 2.0.2 for pi-one, Python 3.11`."""
    status: RebuildStatus
    began: str
    wall_s: float
    cpu_s: float = 0.0
    cause: str = ""
    """The first difference, or the error message; empty if it is equal."""
    log: str = ""
    """Name of the failed container's log in the state folder's `logs/`; empty if there is none."""

    @property
    def id(self) -> str:
        """Name in notices and reports, beside those of cells."""
        return f"rebuild of {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One run of the whole matrix, or of a part of it."""

    id: str
    """`20261125T031500Z`; a later night's id sorts higher, even if the clock was set back."""
    began: str
    ended: str
    """Empty while the night runs, and if it was interrupted."""
    pibuild: str
    """Version of pibuild."""
    outcomes: tuple[CellOutcome, ...]
    set_id: str = ""
    """The set that was published; empty if none was."""
    rebuilds: tuple[RebuildOutcome, ...] = ()
    """The artifacts that were built again after the cells."""

    @property
    def wrong_rebuilds(self) -> tuple[RebuildOutcome, ...]:
        """The artifacts that differ from the store's, or could not be built again."""
        return tuple(rebuild for rebuild in self.rebuilds if rebuild.status != "equal")

    @property
    def failed(self) -> tuple[CellOutcome, ...]:
        """The cells without a proven wheel."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    @property
    def is_unchanged(self) -> bool:
        """Whether every cell had a proven wheel before this night."""
        return all(outcome.status == "unchanged" for outcome in self.outcomes)
