"""Docker engines that run nothing. Each container prints the lines that its engine was made with, and ends."""

import io
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pibuild.adapters.docker import Container, Engine
from pibuild.errors import ImageError, RegistryError
from pibuild.model import Outcome, Run
from tests.makers.elfs import make_elf
from tests.makers.wheels import make_wheel

SIX = "six-1.16.0-py2.py3-none-any.whl"
_TIMES = b"0m0.001s 0m0.001s\n0m1.000s 0m0.500s\n"
"""What the shell's `times` prints: 1.5 s of its children."""


def _outcome(**changes: Any) -> Outcome:
    return Outcome(**{"exit_code": 0, "out_of_memory": False, "timed_out": False, "wall_s": 1.0} | changes)


def _write_tar(tar_path: Path, name: str, content: bytes) -> None:
    with tarfile.open(tar_path, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


class PresentEngine(Engine):
    """An engine that has every image, and asks no daemon."""

    cpus, memory_bytes, free_bytes = 2, 8_000_000_000, None

    def __init__(self) -> None:
        pass

    def check(self) -> None:
        pass

    def prepare_cache(self, run: Run) -> None:
        pass

    def remove_containers(self, store_id: str, is_dead: Callable[[str], bool]) -> int:  # noqa: ARG002
        return 0

    def image_id(self, reference: str) -> str | None:
        return f"sha256:{reference}"

    def image_labels(self, reference: str) -> dict[str, str]:  # noqa: ARG002
        return {}

    def image_text(self, reference: str, folder: str, labels: Iterable[tuple[str, str]] = ()) -> str:  # noqa: ARG002
        return ""

    def images(self, prefix: str) -> list[str]:  # noqa: ARG002
        return []

    def remove_image(self, reference: str) -> None:
        pass


class MakingEngine(PresentEngine):
    """An engine without images; `made` has the labels of its images, `contexts` the files that each step was given.

    `installed` are the lines that locked.sh leaves in an image, by a part of the image's name.
    """

    def __init__(self, *, failure: str = "", registry: bool = False, installed: Mapping[str, str] = {}) -> None:
        self.failure, self.registry, self.installed = failure, registry, installed
        self.made: dict[str, Mapping[str, str]] = {}
        self.contexts: list[list[str]] = []
        self.args: list[Mapping[str, str]] = []

    def image_id(self, reference: str) -> str | None:
        return f"sha256:{reference}" if reference in self.made else None

    def image_labels(self, reference: str) -> dict[str, str]:
        return dict(self.made[reference])

    def image_text(self, reference: str, folder: str, labels: Iterable[tuple[str, str]] = ()) -> str:  # noqa: ARG002
        return "".join(text for part, text in self.installed.items() if part in reference)

    def images(self, prefix: str) -> list[str]:
        return sorted(name for name in self.made if name.startswith(prefix))

    def remove_image(self, reference: str) -> None:
        self.made.pop(reference, None)

    def pull(self, name: str, reference: str) -> bool:
        if not self.registry:
            raise RegistryError(f"{name} can't be pulled")
        self.made[reference] = {}
        return True

    def import_root(self, tar_path: Path, reference: str, labels: Mapping[str, str]) -> None:
        self.contexts.append([tar_path.name])
        self.made[reference] = labels

    def build_image(
        self,
        reference: str,
        context: bytes,
        args: Mapping[str, str],
        labels: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        if self.failure:
            on_line(self.failure)
            raise ImageError(f"The image {reference} can't be made", found="exit code 1")
        with tarfile.open(fileobj=io.BytesIO(context)) as tar:
            self.contexts.append(tar.getnames())
        self.args.append(args)
        self.made[reference] = labels


class AbsentEngine(Engine):
    """An engine that must not be asked."""

    def __init__(self) -> None:
        pass

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"no engine is needed, and {name} was asked of one")


class FailingEngine(PresentEngine):
    """An engine whose containers print these lines and fail."""

    def __init__(self, lines: Sequence[str], **outcome: Any) -> None:
        self.lines, self.outcome = lines, _outcome(**{"exit_code": 1} | outcome)
        self.runs: list[Run] = []
        self.kept: list[str] = []

    @contextmanager
    def container(self, run: Run) -> Iterator[Container]:
        self.runs.append(run)
        yield PrintingContainer(self.lines, self.outcome, self.kept)


class SpeakingEngine(PresentEngine):
    """An engine whose containers print one of these lines each, in turn. A line with FAILED ends with code 1."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.runs: list[Run] = []

    @contextmanager
    def container(self, run: Run) -> Iterator[Container]:
        self.runs.append(run)
        lines = self.lines[len(self.runs) - 1 :][:1]
        yield PrintingContainer(lines, _outcome(exit_code=int(any("FAILED" in line for line in lines))), [])


class PrintingContainer(Container):
    """Prints lines and ends so; each path that is copied out of it is a file with what `times` prints."""

    def __init__(self, lines: Sequence[str], outcome: Outcome, kept: list[str]) -> None:
        self.lines, self.outcome, self.kept = lines, outcome, kept

    def wait(self, on_line: Callable[[str], None]) -> Outcome:
        for line in self.lines:
            on_line(line)
        return self.outcome

    def keep_as(self, reference: str) -> None:
        self.kept.append(reference)

    def copy_out(self, path: str, tar_path: Path, *, most_bytes: int = 0) -> None:  # noqa: ARG002
        _write_tar(tar_path, path.rpartition("/")[2], _TIMES)


class BuildingEngine(PresentEngine):
    """An engine whose containers leave a wheel, or a proof's result."""

    refuses = False
    """Whether proofs end with an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[object] = []

    @contextmanager
    def container(self, run: Run) -> Iterator[Container]:
        env = dict(run.env)
        self.ran.append("proof" if "PIBUILD_CHECK" in env else run.env[-1])
        yield BuildingContainer(self.folder, env, exit_code=int(self.refuses and "PIBUILD_CHECK" in env))


class BuildingContainer(PrintingContainer):
    """Leaves a wheel in /work/out, or a proof's result."""

    def __init__(self, folder: Path, env: Mapping[str, str], exit_code: int = 0) -> None:
        super().__init__((), _outcome(exit_code=exit_code), [])
        self.folder, self.env = folder, env

    def copy_out(self, path: str, tar_path: Path, *, most_bytes: int = 0) -> None:  # noqa: ARG002
        if path == "/work/out":
            with tarfile.open(tar_path, "w") as tar:
                tar.add(self._out(), "out")
            return
        name = path.rpartition("/")[2]
        files = {"result.json": b"{}", "installed.txt": b"thing==1.0\nsix==1.16.0\n"}
        _write_tar(tar_path, name, files.get(name, _TIMES))

    def _out(self) -> Path:
        """Make a wheel, and its library before strip."""
        python = self.env.get("PIBUILD_PYTHON", "3.11").replace(".", "")
        tag, library = f"cp{python}-cp{python}-linux_armv6l", f"thing/_core.cpython-{python}-arm-linux-gnueabihf.so"
        out = self.folder / f"out-{uuid.uuid4().hex}"
        if self.env.get("PURE"):
            make_wheel(
                out / "wheel",
                {"six.py": b""},
                file_name=SIX,
                tags=("py2-none-any", "py3-none-any"),
                purelib="true",
                metadata="Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n",
                dist_info="six-1.16.0.dist-info",
            )
            return out
        version = self.env.get("PIBUILD_VERSION", "1.0")
        make_wheel(
            out / "wheel",
            {library: make_elf()},
            file_name=f"thing-{version}-{tag}.whl",
            tags=(tag,),
            metadata=f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n",
            dist_info=f"thing-{version}.dist-info",
        )
        (out / "symbols" / library).parent.mkdir(parents=True)
        (out / "symbols" / library).write_bytes(make_elf())
        return out
