"""The completions of bash, zsh and fish work in these shells."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pibuild.commands.main import main


@pytest.fixture
def script(tmp_path, capsys):
    """Write the completion script of a shell."""

    def written(shell):
        assert main(["completion", shell]) == 0
        path = tmp_path / f"pibuild.{shell}"
        path.write_text(capsys.readouterr().out)
        return path

    return written


def needs(shell):
    return pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed")


def ended(*command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


CASES = [
    ("pibuild ver", {"verify"}),
    ("pibuild --targ", {"--target"}),
    ("pibuild --target ", {"pi-one", "pi-two"}),
    ("pibuild build --python 3.1", {"3.11", "3.13"}),
    ("pibuild nightly ", {"run", "matrix", "status", "log"}),
    ("pibuild nightly matrix --format g", {"github", "gitlab"}),
    ("pibuild nightly --no-pub", {"--no-publish"}),
    ("pibuild publish un", {"unyank", "undelete"}),
    ("pibuild run --model pi-zero", {"pi-zero-w", "pi-zero-2-w"}),
    ("pibuild completion f", {"fish"}),
]


@pytest.mark.parametrize(("line", "words"), CASES)
def test_bash_completes_commands_options_and_values(script, line, words):
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}\n'
        'function=$(complete -p pibuild | sed "s/.*-F \\([^ ]*\\).*/\\1/")\n'
        '"$function" pibuild "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; echo "${COMPREPLY[@]}"'
    )
    found = ended("bash", "-c", code, "bash", str(script("bash")), *line.split(" "))
    assert words <= set(found)
    assert all(word.startswith(line.rpartition(" ")[2]) for word in found)


def test_bash_completes_paths_of_wheels(script, tmp_path):
    (tmp_path / "thing-1.0-py3-none-any.whl").touch()
    code = 'source "$1"; COMP_WORDS=(pibuild verify thi); COMP_CWORD=2; _shtab_pibuild; echo "${COMPREPLY[@]}"'
    assert ended("bash", "-c", code, "bash", str(script("bash")), cwd=tmp_path) == ["thing-1.0-py3-none-any.whl"]


@needs("fish")
@pytest.mark.parametrize(("line", "words"), CASES)
def test_fish_completes_commands_options_and_values(script, line, words):
    found = ended("fish", "--no-config", "-c", f"source {script('fish')}; complete -C '{line}'")
    assert words <= set(found)


@needs("zsh")
def test_zsh_loads_the_script_and_knows_the_command(script, tmp_path):
    shutil.copy(script("zsh"), tmp_path / "_pibuild")
    code = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; print $_comps[pibuild]"
    assert ended("zsh", "-f", "-c", f"{code}; autoload +X _pibuild")[:1] == ["_pibuild"]
    assert ended("zsh", "-f", "-n", str(tmp_path / "_pibuild")) == []


def test_the_script_needs_no_settings(tmp_path):
    (tmp_path / "pibuild.yaml").write_text("nonsense: true\n")
    command = [sys.executable, "-m", "pibuild", "completion", "bash"]
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    assert subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False).returncode == 0
