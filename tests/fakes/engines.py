"""Docker engines that run nothing."""

import io
import tarfile
import uuid
from contextlib import contextmanager
from pathlib import Path

from pibuild.model import Outcome, Run
from tests.makers.elfs import make_elf
from tests.makers.wheels import make_wheel

SIX = "six-1.16.0-py2.py3-none-any.whl"
_TIMES = b"0m0.001s 0m0.001s\n0m1.000s 0m0.500s\n"


class FailingEngine:
    """An engine whose one container says these lines and ends so."""

    def __init__(self, lines: list[str], **outcome) -> None:
        self.lines = lines
        self.outcome = Outcome(**{"exit_code": 1, "out_of_memory": False, "timed_out": False, "wall_s": 1.0} | outcome)
        self.runs: list[Run] = []
        self.kept: list[str] = []

    @contextmanager
    def container(self, run: Run):
        self.runs.append(run)
        yield self

    def wait(self, on_line) -> Outcome:
        for line in self.lines:
            on_line(line)
        return self.outcome

    def keep_as(self, reference: str) -> None:
        self.kept.append(reference)

    def copy_out(self, path: str, tar_path: Path) -> None:
        raise AssertionError(path, tar_path)


class SpeakingEngine:
    """An engine whose containers say these lines, the device's last; 1 is the code of those that say FAILED."""

    def __init__(self, *says: str) -> None:
        self.says, self.runs = says, []

    @contextmanager
    def container(self, run):
        self.runs.append(run)
        yield SpeakingContainer(self.says[len(self.runs) - 1 :][:1])


class SpeakingContainer:
    def __init__(self, lines):
        self.lines = lines

    def wait(self, on_line):
        for line in self.lines:
            on_line(line)
        failed = any("FAILED" in line for line in self.lines)
        return Outcome(exit_code=int(failed), out_of_memory=False, timed_out=False, wall_s=1.0)

    def keep_as(self, _reference):
        pass

    def copy_out(self, path, tar_path):
        content = b"0m0.001s 0m0.001s\n0m1.000s 0m0.500s\n"
        with tarfile.open(tar_path, "w") as tar:
            member = tarfile.TarInfo(path.rpartition("/")[2])
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


class BuildingEngine:
    """An engine whose containers leave a wheel, or a proof's result."""

    cpus, memory_bytes, free_bytes = 1, 4_000_000_000, None
    refuses = False
    """Whether proofs end with an error."""

    def __init__(self, folder):
        self.folder, self.ran = folder, []

    def check(self):
        pass

    def remove_containers(self, *_):
        return 0

    def image_id(self, reference):
        return f"sha256:{reference}"

    def image_labels(self, _reference):
        return {}

    @contextmanager
    def container(self, run):
        env = dict(run.env)
        self.ran.append("proof" if "PIBUILD_CHECK" in env else run.env[-1])
        yield BuildingContainer(self.folder, env, exit_code=int(self.refuses and "PIBUILD_CHECK" in env))


class BuildingContainer:
    def __init__(self, folder, env, exit_code=0):
        self.folder, self.env, self.exit_code = folder, env, exit_code

    def keep_as(self, _reference):
        pass

    def wait(self, _on_line):
        return Outcome(exit_code=self.exit_code, out_of_memory=False, timed_out=False, wall_s=1.0)

    def copy_out(self, path, tar_path):
        with tarfile.open(tar_path, "w") as tar:
            if path == "/work/out":
                tar.add(self._out(), "out")
                return
            said = {"result.json": b"{}", "installed.txt": b"thing==1.0\nsix==1.16.0\n"}
            content = said.get(path.rpartition("/")[2], _TIMES)
            member = tarfile.TarInfo(path.rpartition("/")[2])
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

    def _out(self):
        """A wheel, and its library before strip."""
        python = self.env.get("PIBUILD_PYTHON", "3.11").replace(".", "")
        tag, library = f"cp{python}-cp{python}-linux_armv6l", f"thing/_core.cpython-{python}-arm-linux-gnueabihf.so"
        out = self.folder / f"out-{uuid.uuid4().hex}"
        if self.env.get("PURE"):
            make_wheel(out / "wheel", {"six.py": b""}, file_name=SIX, tags=("py2.py3-none-any",))
            return out
        make_wheel(out / "wheel", {library: make_elf()}, file_name=f"thing-1.0-{tag}.whl", tags=(tag,))
        (out / "symbols" / library).parent.mkdir(parents=True)
        (out / "symbols" / library).write_bytes(make_elf())
        return out
