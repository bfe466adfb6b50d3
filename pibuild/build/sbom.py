"""The bill of materials in a wheel: CycloneDX 1.6 in `.dist-info/sboms/`, as PEP 770 defines.

It depends only on what goes into the wheel, so that a wheel that is proven again has the same bytes: it has no time, no
random serial number, nothing about the proof, and no versions of the libraries that wrote it.

Every source that the build sees is listed in one of two roles. A *part* is in the wheel: a source of the wheel's own
artifact, or of a library that is linked into it. A source of the *build* alone has the scope `excluded`, because the
wheel does not contain it. These are the sources of

- artifacts that stand on the device beside the wheel (CPython, numpy): only their headers were used;
- artifacts that are made for no target: they run on the machine that builds;
- tools, as a recipe names them under `tools`;
- everything that only these need.

A source is listed as a whole, even if a target leaves some of it out.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from pibuild.build.graph import with_needs
from pibuild.files import json_text
from pibuild.model import ArchivePlace, Artifact, DebianPlace, GitPlace, NpmPlace, Place, Plan, PypiPlace, Source

Role = Literal["part", "build"]

_NAME = re.compile(r"(?P<name>.+?)-(?P<version>\d.*|[0-9a-f]{10})")
"""A source's name: `abseil-cpp-48cd2c3f35`, `re2-2018-07-01`."""
_FORGE = "https://github.com/"
_FORGE_ARCHIVE = re.compile(
    re.escape(_FORGE)
    + r"(?P<repository>[^/]+/[^/]+)/"
    + r"(archive/(refs/tags/)?(?P<ref>[^/]+)\.(tar\.gz|zip)|releases/download/(?P<tag>[^/]+)/.*)"
)
_PREFERRED = ("pypi", "github", "npm", "deb", "generic")
"""Types of package URLs, the ones that vulnerability databases use first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used:
    """A source, its role, and the recipe that uses it."""

    source: Source
    role: Role
    recipe: str


def sbom(plan: Plan) -> bytes:
    """Return the bill of materials of a plan's wheel, as JSON."""
    named_by = f"pibuild:{plan.wheel.key}:{plan.version}:{plan.target.platform_tag}"
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, named_by))
    wheel = _wheel(plan)
    components = [_runtime(plan), *map(_component, _by_source(plan.wheel))]
    bom.metadata.tools = ToolRepository(components=[Component(name="pibuild", type=ComponentType.APPLICATION)])
    bom.metadata.component = wheel
    bom.components = components
    bom.register_dependency(
        wheel, [component for component in components if component.scope == ComponentScope.REQUIRED]
    )
    facts = json.loads(JsonV1Dot6(bom).output_as_string())
    del facts["metadata"]["timestamp"]  # which the library adds
    return (json_text(facts, indent=1)).encode()


def purl(place: Place, name: str, version: str) -> PackageURL:
    """Return the package URL of a place; `name` and `version` are used if no registry has it.

    The version of a Debian source package is upstream's part of it, because revisions share the file.
    Source: https://github.com/package-url/purl-spec, and its types.
    """
    subpath = place.subdir or None
    match place:
        case GitPlace():
            return _github(place.git, place.commit, subpath)
        case ArchivePlace():
            return _archive(place, name, version)
        case DebianPlace():
            upstream = place.file.partition("_")[2].partition(".orig")[0]
            qualifiers = {"arch": "source", "distro": place.suite}
            return PackageURL("deb", "debian", place.debian, upstream or version, qualifiers, subpath)
        case PypiPlace():
            return PackageURL("pypi", None, place.pypi, place.version, None, subpath)
        case NpmPlace():
            scope, _, bare = place.npm.rpartition("/")
            return PackageURL("npm", scope or None, bare, place.version, None, subpath)
        case _:
            assert_never(place)


def _archive(place: ArchivePlace, name: str, version: str) -> PackageURL:
    subpath = place.subdir or None
    if place.git:
        return _github(place.git, place.commit, subpath)
    if found := _FORGE_ARCHIVE.fullmatch(place.archive):
        return _github(found["repository"], found["ref"] or found["tag"], subpath)
    qualifiers = {"download_url": place.archive, "checksum": f"sha256:{place.sha256}"}
    return PackageURL("generic", None, name, version, qualifiers, subpath)


def _github(repository: str, ref: str, subpath: str | None) -> PackageURL:
    owner, _, name = repository.partition("/")
    return PackageURL("github", owner, name, ref, None, subpath)


def _wheel(plan: Plan) -> Component:
    name, version = plan.wheel.recipe.name, plan.version
    images = sorted({artifact.image.reference for artifact in with_needs([plan.wheel])})
    facts = [("artifact", plan.wheel.key), ("target", plan.target.name), ("python", plan.python)]
    facts += [("release", plan.wheel.release.version), ("compiler", plan.target.compiler)]
    facts += [("image", image) for image in images]
    address = PackageURL("pypi", None, name, version)
    return Component(
        name=name, version=version, purl=address, bom_ref=address.to_string(), properties=_properties(facts)
    )


def _runtime(plan: Plan) -> Component:
    """Return the compiler's runtime, which is linked into every wheel."""
    compiler, _, version = plan.target.compiler.lower().partition(" ")
    return Component(
        name=f"{compiler}-runtime",
        version=version,
        description=f"libgcc and libstdc++ of {plan.target.compiler}, linked statically",
        scope=ComponentScope.REQUIRED,
        purl=PackageURL("generic", None, compiler, version),
        bom_ref="runtime",
        properties=_properties([("role", "part")]),
    )


def _by_source(artifact: Artifact) -> list[list[_Used]]:
    """Return each source's uses, those as a part first."""
    parts = {artifact.key for artifact in _linked(artifact)}
    uses: dict[tuple[str, str], list[_Used]] = {}
    for used_artifact in with_needs([artifact]):
        for source in used_artifact.release.sources:
            is_part = used_artifact.key in parts and source.name not in used_artifact.recipe.tools
            used = _Used(source=source, role="part" if is_part else "build", recipe=used_artifact.recipe.name)
            uses.setdefault((source.name, source.tree), []).append(used)
    return [sorted(found, key=lambda used: used.role, reverse=True) for found in uses.values()]


def _linked(artifact: Artifact) -> Iterator[Artifact]:
    """Yield an artifact and the libraries in it: what is made for the target and does not stand on the device."""
    yield artifact
    for need in artifact.needs:
        if need.target is not None and not need.recipe.device:
            yield from _linked(need)


def _component(uses: list[_Used]) -> Component:
    source, role = uses[0].source, uses[0].role
    name, version = named(source)
    addresses = [purl(place, name, version) for place in source.places]
    recipes = sorted({used.recipe for used in uses if used.role == role})
    return Component(
        name=name,
        version=version or None,
        scope=ComponentScope.REQUIRED if role == "part" else ComponentScope.EXCLUDED,
        purl=min(addresses, key=_rank, default=None),
        bom_ref=f"{source.name}@{source.tree[:16]}",
        external_references=[reference for place in source.places for reference in _references(place, name, version)],
        properties=_properties([("role", role), ("tree", source.tree), *(("recipe", recipe) for recipe in recipes)]),
    )


def named(source: Source) -> tuple[str, str]:
    """Return name and version of a source: `abseil-cpp` and the whole commit of `abseil-cpp-48cd2c3f35`."""
    commits = [place.commit for place in source.places if isinstance(place, GitPlace | ArchivePlace) and place.commit]
    found = _NAME.fullmatch(source.name)
    if found is None:
        return source.name, next(iter(commits), "")
    version = found["version"]
    abbreviated = len(version) == 10
    return found["name"], next((commit for commit in commits if abbreviated and commit.startswith(version)), version)


def _rank(address: PackageURL) -> tuple[bool, int]:
    """Return the sort key of a package URL: preferred types first, folders of another package last."""
    return bool(address.subpath), _PREFERRED.index(address.type)


def _references(place: Place, name: str, version: str) -> Iterator[ExternalReference]:
    """Yield where a source is; a registry's file by its package URL, because people may use a mirror."""
    if isinstance(place, GitPlace | ArchivePlace) and place.git:
        yield ExternalReference(
            type=ExternalReferenceType.VCS, url=XsUri(_FORGE + place.git), comment=f"commit {place.commit}"
        )
    if isinstance(place, GitPlace):
        return
    yield ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(place.archive if isinstance(place, ArchivePlace) else purl(place, name, version).to_string()),
        comment=place.file if isinstance(place, DebianPlace | PypiPlace) else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=place.sha256)],
    )


def _properties(facts: list[tuple[str, str]]) -> list[Property]:
    return [Property(name=f"pibuild:{name}", value=value) for name, value in facts]
