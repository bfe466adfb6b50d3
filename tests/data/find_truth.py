"""Finds by running what really happens with wheels on each Pi, and writes it into tests/data.

usage: find_truth.py ROOTS crafted|compiled|real [NAME...]

ROOTS is a folder that roots.sh made. For each release of Debian and each CPU of a Pi, the files of a wheel are
installed as pip does, then Debian's Python imports the wheel under qemu-arm or qemu-aarch64. Whether pip takes the
wheel is decided by the tags that the release's pip and the newest pip support there. pibuild judges nothing here:
config/pis.yaml names the places.

How the truth of a place follows from the runs:
- A Cortex-A7 stands for every Pi with ARMv7 and 32 bits. qemu-arm has no model of a Pi's ARMv8 CPU: where a wheel fails
  on a Cortex-A7 and runs with `-cpu max`, the places with an ARMv8 CPU and 32 bits are left out.
- Debian has no system for ARMv6. A wheel fails on a Pi Zero with a release if it fails on a Cortex-A7 with that
  release, or if it ends with SIGILL on an ARM1176 with pibuild's ARMv6 system. If it stops there because of the older
  glibc or the other Python, the place is left out.
- A Pi 5 with 64 bits has pages of 16 KiB, other Pis have pages of 4 KiB.
- Debian's mirrors lack jessie, stretch and buster. Their places are told only where no tag of the wheel fits the
  Python.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from shutil import copytree, rmtree

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pibuild.config.pis import load_pis  # noqa: E402
from tests.makers.compiled_wheels import compiled_wheels  # noqa: E402
from tests.makers.crafted_wheels import crafted_wheels  # noqa: E402
from tests.truth import cpu_name  # noqa: E402

DATA = ROOT / "tests/data"
CACHE = Path.home() / ".cache/pibuild/test-wheels"
PYTHONS = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}
"""The releases with a system to run, and their Pythons."""
CPUS = {
    "a7": ("armhf", "cortex-a7"),
    "max": ("armhf", "max"),
    "a53": ("arm64", "cortex-a53"),
    "a72": ("arm64", "cortex-a72"),
    "a76": ("arm64", "cortex-a76"),
}


class Roots:
    """The systems."""

    def __init__(self, folder):
        self.folder = folder

    def command(self, root, cpu, *command):
        emulator = "qemu-aarch64-static" if root.endswith("arm64") else "qemu-arm-static"
        pages = ["-p", "16384"] if cpu == "cortex-a76" else []
        return ["/usr/sbin/chroot", str(self.folder / root), f"/usr/bin/{emulator}", "-cpu", cpu, *pages, *command]

    def run(self, root, cpu, *command, environ=None, seconds=600):
        environ = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", **(environ or {})}
        return subprocess.run(
            self.command(root, cpu, *command), capture_output=True, text=True, env=environ, timeout=seconds, check=False
        )

    def tell_cpu(self, root, cpu):
        """Write the kernel's files about the CPU, which libraries read."""
        top = self.folder / root
        if root == "pi-one":
            return  # has a Pi's files
        cpus = {one.name.lower(): one for one in load_pis().cpus}
        told = cpus.get(cpu, cpus["cortex-a72"])
        text = told.cpuinfo_64 if root.endswith("arm64") else told.cpuinfo
        for name in ("proc", "sys/devices/system/cpu", "dev"):
            (top / name).mkdir(parents=True, exist_ok=True)
        (top / "proc/cpuinfo").write_text("".join(f"processor\t: {number}\n{text}\n" for number in range(4)))
        for name in ("possible", "present"):
            (top / "sys/devices/system/cpu" / name).write_text("0-3\n")

    def version(self):
        return self.run("bookworm-armhf", "cortex-a7", "--version").stdout.splitlines()[0]

    @cache  # noqa: B019
    def tags(self, release, architecture, platform, pip):
        """Return the tags that a pip takes on a machine; pip "" is the release's own."""
        python = "python2.7" if pip == "20.3.4" else f"python{PYTHONS[release]}"  # the last for 2.7
        kept = self.folder / f"tags-{release}-{architecture}-{platform}-{pip or 'own'}.json"
        if not kept.exists():
            code = (  # also for Python 2.7
                "from pip._internal.utils.compatibility_tags import get_supported; import sys; "
                "sys.stdout.write(' '.join(map(str, get_supported())))"
            )
            cpu = "cortex-a7" if architecture == "armhf" else "cortex-a53"
            environ = {"_PYTHON_HOST_PLATFORM": platform} | ({"PYTHONPATH": f"/pips/pip-{pip}"} if pip else {})
            ran = self.run(f"{release}-{architecture}", cpu, f"/usr/bin/{python}", "-c", code, environ=environ)
            if ran.returncode:
                raise SystemExit(ran.stderr)
            kept.write_text(json.dumps(ran.stdout.split()))
        return frozenset(json.loads(kept.read_text()))


def metadata(path):
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode("utf-8", "replace")


def lay_out(path, folder):
    """Unpack a wheel as pip does; return the folders of modules and of scripts."""
    site, scripts = folder / "site", folder / "bin"
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = name.split("/")
            target = site / name
            if parts[0].endswith(".data") and len(parts) > 2:
                base = {"purelib": site, "platlib": site, "scripts": scripts, "data": folder / "data"}.get(
                    parts[1], folder / parts[1]
                )
                target = base.joinpath(*parts[2:])
            if not name.endswith("/"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
                target.chmod(0o755)
    return site, scripts


def required_python(text):
    for line in text.split("\n\n")[0].splitlines():
        if line.startswith("Requires-Python:"):
            try:
                return SpecifierSet(line.split(":", 1)[1].strip())
            except InvalidSpecifier:
                return SpecifierSet()
    return SpecifierSet()


def pip_takes(roots, path, place):
    """Return whether pip installs the wheel at a place; None if that is not known, or if two pips do not agree."""
    tags = {str(tag) for tag in parse_wheel_filename(path.name)[3]}
    python, release = place.python.version, place.system.name
    if release not in PYTHONS or (python == "2.7" and release != "bullseye"):
        abi = {"2.7": "cp27mu", "3.4": "cp34m", "3.5": "cp35m", "3.7": "cp37m"}[python]
        machine = place.pi.architectures[0]
        linux = [tag.rsplit("-", 1)[1] for tag in tags]
        usual = [platform for platform in linux if platform.endswith(("_" + machine, "_armv8l"))]
        version = tuple(map(int, python.split(".")))
        taken = {*cpython_tags(version, [abi], usual), *compatible_tags(version, "cp" + python.replace(".", ""), usual)}
        return None if tags & {str(tag) for tag in taken} else False
    if place.python.full_version not in required_python(metadata(path)):
        return False
    architecture = "arm64" if place.pi.bits == 64 else "armhf"
    # A 32-bit system with a kernel of 64 bits says aarch64.
    platforms = {"linux-" + name.replace("armv8l", "aarch64") for name in place.pi.architectures}
    if place.pi.cpu.name in ("Cortex-A72", "Cortex-A76") and place.pi.bits == 32 and release != "bullseye":
        platforms = {"linux-aarch64"}
    answers = set()
    for platform in platforms:
        for pip in {str(place.python.pip), *([""] if place.python.shipped_pip else [])}:
            answers.add(bool(tags & roots.tags(release, architecture, platform, pip)))
    return answers.pop() if len(answers) == 1 else None


class Runs:
    """What happened to each wheel in each system."""

    def __init__(self, roots):
        self.roots = roots
        self.seen = {}

    def run(self, jobs, root, cpu, key):
        """Run jobs of (name, path, exercise, beside) in a system."""
        self.roots.tell_cpu(root, cpu)
        top = self.roots.folder / root / "tmp/truth"
        rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        python = (
            "/opt/pibuild/python/bin/python3.11"
            if root == "pi-one"
            else f"/usr/bin/python{PYTHONS[root.split('-')[0]]}"
        )
        listed = []
        copytree(ROOT / "tests/models", top / "models")
        for number, (name, path, exercise, beside) in enumerate(jobs):
            site, scripts = lay_out(path, top / str(number))
            folders = ["/" + str(site.relative_to(self.roots.folder / root))]
            for other in beside:
                lay_out(other, top / str(number))
            if exercise.startswith("!"):
                words = exercise[1:].split()
                held = scripts / words[0] if (scripts / words[0]).exists() else site / words[0]
                program = "/" + str(held.relative_to(self.roots.folder / root))
                ran = self.roots.run(root, cpu, program, *words[1:], seconds=120)
                ended = (
                    "runs" if ran.returncode == 0 else (ran.stderr.strip() or f"exit {ran.returncode}").splitlines()[-1]
                )
                if "target signal 4" in ran.stderr or ran.returncode in (-4, 132):
                    ended = "SIGILL"
                self.seen[name, key] = ended.replace(str(self.roots.folder), "")
            else:
                listed.append({"name": name, "folders": folders, "code": exercise})
        if listed:
            (top / "jobs.json").write_text(json.dumps(listed))
            (top / "run_inside.py").write_text(Path(__file__).with_name("run_inside.py").read_text())
            results = top / "results"
            environ = {"PYTHONHOME": "/opt/pibuild/python"} if root == "pi-one" else {}
            ran = self.roots.run(
                root,
                cpu,
                python,
                "/tmp/truth/run_inside.py",
                "/tmp/truth/jobs.json",
                "/tmp/truth/results",
                environ=environ,
                seconds=7200,
            )
            if not results.exists():
                raise SystemExit(f"{root} {cpu}: {ran.stderr}")
            for line in results.read_text().splitlines():
                name, ended = json.loads(line)
                self.seen[name, key] = re.sub(r"/tmp/truth/\d+/(site/)?", "", ended).split("\n")[0]
        rmtree(top, ignore_errors=True)

    def outcome(self, name, place):
        """Return what was seen at a place, or None if that does not follow from the runs."""
        release, cpu = place.system.name, place.pi.cpu
        if place.pi.bits == 64:
            key = {"Cortex-A53": "a53", "Cortex-A72": "a72", "Cortex-A76": "a76"}[cpu.name]
            return self.seen.get((name, f"{release} {key}"))
        seven = self.seen.get((name, f"{release} a7"))
        if cpu.name == "ARM1176":
            six = self.seen.get((name, "zero"))
            if seven not in ("runs", "SIGILL"):
                return seven
            return six if six in ("runs", "SIGILL") else None
        if cpu.name == "Cortex-A7" or seven != "SIGILL":
            return seven
        return "SIGILL" if self.seen.get((name, f"{release} max")) == "SIGILL" else None


def truth(roots, runs, name, path):
    """Return rows of {seen, places} for a wheel."""
    rows = defaultdict(lambda: defaultdict(list))
    everywhere = defaultdict(set)
    for place in load_pis().places:
        release = f"{place.system.name} {place.python.version}"
        everywhere[release].add(cpu_name(place))
        takes = pip_takes(roots, path, place)
        if takes is None:
            continue
        seen = "pip refuses it" if not takes else runs.outcome(name, place) if place.python.version != "2.7" else None
        if seen is not None:
            rows[seen][release].append(cpu_name(place))
    made = []
    for seen, places in rows.items():
        compact = {release: "all" if set(cpus) == everywhere[release] else cpus for release, cpus in places.items()}
        made.append({"outcome": "runs" if seen == "runs" else "fails", "seen": seen, "places": compact})
    return made


def run_all(roots, jobs, runs):
    kept = os.environ.get("SEEN")
    if kept:
        runs.seen = {(name, key): seen for name, key, seen in json.loads(Path(kept).read_text())}
        return
    for release in PYTHONS:
        for key, (architecture, cpu) in CPUS.items():
            wanted = [job for job in jobs if is_tried(job[1], release, architecture)]
            if key == "max":
                wanted = [job for job in wanted if runs.seen.get((job[0], f"{release} a7")) == "SIGILL"]
            print(release, key, len(wanted), flush=True)
            runs.run(wanted, f"{release}-{architecture}", cpu, f"{release} {key}")
    wanted = [job for job in jobs if any(word in job[1].name for word in ("armv6l", "-any."))]
    print("zero", len(wanted), flush=True)
    runs.run(wanted, "pi-one", "arm1176", "zero")
    (roots.folder / "seen.json").write_text(json.dumps([[*key, seen] for key, seen in runs.seen.items()]))


def is_tried(path, release, architecture):
    """Return whether any tag may fit, so that running tells something."""
    tags = parse_wheel_filename(path.name)[3]
    machines = ("armv6l", "armv7l", "armv8l", "any") if architecture == "armhf" else ("aarch64", "any")
    python = "cp" + PYTHONS[release].replace(".", "")
    return any(
        tag.platform.endswith(machines)
        and (tag.interpreter == python or tag.interpreter.startswith("py3") or tag.abi == "abi3")
        for tag in tags
    )


def flow(value):
    return yaml.safe_dump(value, default_flow_style=True, width=10000, allow_unicode=True, sort_keys=False).strip()


def write(path, about, wheels):
    lines = [f"# {line}".rstrip() for line in about.splitlines()]
    lines += [f"emulator: {flow(ROOTS.version())}".replace("\n...", ""), "wheels:"]
    for wheel in wheels:
        for number, (key, value) in enumerate(wheel.items()):
            begin = "  - " if number == 0 else "    "
            if key == "truth":
                lines += ["    truth:", *(f"      - {flow(row)}" for row in value or [])]
            else:
                lines.append(f"{begin}{key}: {flow(value)}".replace("\n...", ""))
    path.write_text("\n".join(lines) + "\n")


def crafted(roots, names):
    renewed(roots, names, "crafted", CRAFTED_ABOUT, crafted_wheels(), lambda wheel, _folder: wheel)


def compiled(roots, names):
    renewed(roots, names, "compiled", COMPILED_ABOUT, compiled_wheels(), lambda source, folder: source.compiled(folder))


def renewed(roots, names, kind, about, sources, made):
    """Find the truth of the named wheels, or of those that are new or have changed, and write that kind's file."""
    path, folder = DATA / f"{kind}_wheels.yaml", roots.folder / kind
    old = {wheel["name"]: wheel for wheel in yaml.safe_load(path.read_text())["wheels"]} if path.exists() else {}
    rmtree(folder, ignore_errors=True)
    wanted = [
        source
        for source in sources
        if (source.name in names if names else old.get(source.name, {}).get("sha256") != source.sha256)
    ]
    wheels = [made(source, folder / "made") for source in wanted]
    jobs = [(wheel.name, wheel.write(folder), wheel.exercise, ()) for wheel in wheels]
    runs = Runs(roots)
    run_all(roots, jobs, runs)
    for (name, file, _, _), source in zip(jobs, wanted, strict=True):
        old[name] = {"name": name, "sha256": source.sha256, "truth": truth(roots, runs, name, file)}
    write(path, about, [old[source.name] for source in sources if source.name in old])


def real(roots, names):
    path = DATA / "real_wheels.yaml"
    wheels = yaml.safe_load(path.read_text())["wheels"]
    wanted = [wheel for wheel in wheels if (wheel["file"] in names if names else not wheel.get("truth"))]
    jobs = []
    for wheel in wanted:
        beside = [CACHE / name for name in wheel.get("beside", ())]
        jobs.append((wheel["file"], CACHE / wheel["file"], wheel["exercise"], beside))
    runs = Runs(roots)
    run_all(roots, jobs, runs)
    for wheel, job in zip(wanted, jobs, strict=True):
        wheel["truth"] = truth(roots, runs, *job[:2])
    write(path, REAL_ABOUT, wheels)


_PLACES = (
    """`places` are releases with a Python, and CPUs (tests/truth.py). Places that are not listed could not be tried."""
)
_SHA256 = """`sha256` is the hash of what the truth depends on: after a change of the wheel, run the command again."""
CRAFTED_ABOUT = f"""What really happens with the wheels of tests/makers/crafted_wheels.py, found by running:
tests/data/find_truth.py ROOTS crafted

{_SHA256}
{_PLACES}"""
COMPILED_ABOUT = f"""What really happens with the wheels of tests/makers/compiled_wheels.py, found by running:
tests/data/find_truth.py ROOTS compiled

{_SHA256}
The compiler was Debian bookworm's GCC 12.
{_PLACES}"""
REAL_ABOUT = f"""Real wheels, and what really happens with them, found by running: tests/data/find_truth.py ROOTS real

None is in this repository: each comes from PyPI by name and hash. `exercise` is what Python runs after the installation
(a program of the wheel after `!`), `beside` are wheels that are installed with it. Large wheels are judged only if the
variable PIBTEST_LARGE_WHEELS is set.
{_PLACES}"""


if __name__ == "__main__":
    ROOTS = Roots(Path(sys.argv[1]).resolve())
    {"crafted": crafted, "compiled": compiled, "real": real}[sys.argv[2]](ROOTS, sys.argv[3:])
