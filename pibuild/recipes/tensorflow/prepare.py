"""Makes TensorFlow's tree ready for Bazel: archives of what was kept as trees, and Python's API files.

prepare.py TENSORFLOW SOURCES    SOURCES: the folder of distdir/, externals/ and, where it is given, api-wheel/
"""

import gzip
import io
import re
import shutil
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

ARCHIVE = re.compile(r"http_archive\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")
"""One external of workspace.bzl."""
SHA256 = re.compile(r'sha256 = "([0-9a-f]{64})"')
FILE = re.compile(r'"(?P<sha256>[0-9a-f]{64})": \[(?P<urls>[^]]*)\]')
"""A single file of workspace.bzl."""
HASH = re.compile(r'"([0-9a-f]{64})"')
LAST = re.compile(r'"https?://[^"]+/([^/"]+)"')
"""The last part of a URL, which is the name that Bazel looks for."""
API = "tensorflow/_api/v1"
ESTIMATOR_API = "tensorflow/python/estimator/api"
KERAS_API = "tensorflow/python/keras/api"
"""Where API files go."""
API_LISTS = ("api_init_files_v1.bzl", "api_init_files.bzl", "api_gen.bzl")
"""The files that list their names."""


def pack_externals(tensorflow: Path, trees: Path, distdir: Path) -> None:
    """Pack each tree as the archive that Bazel asks for, and put its sha256 where upstream's stands.

    A tree has the name of the folder in its archive. Without its tests, an archive can't have upstream's hash.
    """
    for tree in sorted(trees.iterdir()):
        definitions = [
            (path, definition)
            for path in workspace_files(tensorflow)
            for definition in ARCHIVE.findall(path.read_text())
            if f'strip_prefix = "{tree.name}"' in definition
        ]
        if len(definitions) != 1:
            sys.exit(f"error: workspace.bzl has {len(definitions)} archives whose folder is {tree.name}, expected one")
        path, definition = definitions[0]
        name = LAST.findall(definition)[-1]
        content = packed_zip(tree) if name.endswith(".zip") else packed_tar(tree)
        (distdir / name).write_bytes(content)
        changed = SHA256.sub(f'sha256 = "{sha256(content).hexdigest()}"', definition)
        path.write_text(path.read_text().replace(definition, changed))


def workspace_files(tensorflow: Path) -> list[Path]:
    """Give the files that define what comes from outside."""
    return [
        tensorflow / "WORKSPACE",
        tensorflow / "tensorflow/workspace.bzl",
        *sorted(tensorflow.glob("third_party/*/workspace.bzl")),
    ]


def name_archives(tensorflow: Path, distdir: Path) -> None:
    """Give each archive the names under which Bazel looks for its hash, and refuse one whose hash nothing asks for.

    Bazel passes over what has another name or hash, without a word, and asks the network.
    """
    text = "\n".join(path.read_text() for path in workspace_files(tensorflow))
    asked = [(HASH.findall(one), LAST.findall(one)) for one in ARCHIVE.findall(text)]
    asked += [([one["sha256"]], LAST.findall(one["urls"])) for one in FILE.finditer(text)]
    wrong = []
    for path in sorted(distdir.iterdir()):
        found = sha256(path.read_bytes()).hexdigest()
        for name in sorted({name for pins, names in asked if found in pins for name in names} - {path.name}):
            shutil.copyfile(path, distdir / name)
        if f'"{found}"' not in text:
            wanted = " or ".join(sorted({pin for pins, names in asked if path.name in names for pin in pins}))
            wrong.append(f"{path.name} has sha256 {found}, and workspace.bzl wants {wanted or 'no such file'}")
    if wrong:
        sys.exit("error: " + "; ".join(wrong))


def packed_tar(tree: Path) -> bytes:
    """Give a .tar.gz of a tree that is the same every time."""
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 1, packed, 0) as compressed, tarfile.open(fileobj=compressed, mode="w") as tar:
        for path in sorted(tree.rglob("*")):
            member = tar.gettarinfo(path, f"{tree.name}/{path.relative_to(tree)}")
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            if member.isfile():
                with path.open("rb") as file:
                    tar.addfile(member, file)
            else:
                tar.addfile(member)
    return packed.getvalue()


def packed_zip(tree: Path) -> bytes:
    """Give a .zip of a tree that is the same every time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(f"{tree.name}/{path.relative_to(tree)}")
            member.external_attr = path.stat().st_mode << 16
            archive.writestr(member, path.read_bytes())
    return packed.getvalue()


def listed_api_files(generator: Path) -> dict[str, set[str]]:
    """Give the API files of each folder, as the lists in the release's BUILD files have them."""
    text = "".join((generator / name).read_text() for name in API_LISTS if (generator / name).exists())

    def names(constant: str) -> set[str]:
        block = re.search(rf"^{constant} = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
        return set(re.findall(r'^ *"([^"]+)",', block[1], re.MULTILINE)) if block else set()

    api, keras = names("TENSORFLOW_API_INIT_FILES_V1"), names("KERAS_API_INIT_FILES_V1")
    if not keras:  # up to 1.12
        return {API: api, ESTIMATOR_API: names("ESTIMATOR_API_INIT_FILES")}
    v2 = {f"compat/v2/{name}" for name in names("TENSORFLOW_API_INIT_FILES")}
    keras_v2 = {f"_v2/{name}" for name in names("KERAS_API_INIT_FILES")}
    return {
        API: api - {"__init__.py"} | {"v1.py"} | {f"compat/v1/{name}" for name in api} | v2,
        KERAS_API: keras | {f"_v1/{name}" for name in keras} | keras_v2,
    }


def take_api_files(tensorflow: Path, wheel: Path) -> int:
    """Copy Python's API files out of the official wheel; give how many.

    The release's own BUILD files list their names, and both must name the same files.
    """
    files = []
    for folder, listed in listed_api_files(tensorflow / "tensorflow/python/tools/api/generator").items():
        found = {path.relative_to(wheel / folder).as_posix(): path for path in (wheel / folder).rglob("*.py")}
        # setuptools puts an empty file into a folder that has no module of its own
        extra = {name for name in found.keys() - listed if found[name].read_text().strip()}
        if missing := listed - found.keys() or extra:
            names = ", ".join(sorted(missing))
            sys.exit(f"error: {folder}: the official wheel and the release's lists do not name the same files: {names}")
        files += [f"{folder}/{name}" for name in sorted(listed)]
    to = tensorflow / "third_party/api_files"
    for name in files:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wheel / name, to / name)
    listing = "".join(f'    "{name}",\n' for name in files)
    (to / "api_files.bzl").write_text(
        f'"""The Python API files that were made before."""\n\nAPI_FILES = [\n{listing}]\n'
    )
    return len(files)


def main(tensorflow: Path, sources: Path) -> None:
    """Do what the sources call for."""
    pack_externals(tensorflow, sources / "externals", sources / "distdir")
    name_archives(tensorflow, sources / "distdir")
    if (sources / "api-wheel").exists():
        count = take_api_files(tensorflow, sources / "api-wheel")
        sys.stderr.write(f"{count} Python API files from the official wheel, named as in the release's lists\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
