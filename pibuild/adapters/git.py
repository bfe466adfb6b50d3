"""git: a commit's files, or an archive of them, from a clone in a folder or on a server.

A clone may lack objects, its configuration may be hostile, and many variables change git's behaviour. So a clone's
objects are read from an empty repository of pibuild's own, without the clone's settings, hooks and references.
"""

import os
import re
import select
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from pibuild.adapters.process import Ended, check_space, last_words, run, running
from pibuild.console import Progress
from pibuild.errors import SourceError, UnreachableError
from pibuild.files import file_sha256
from pibuild.model import ArchivePlace
from pibuild.urls import Address

_DEADLINE_S = 600.0
_ARCHIVE_DEADLINE_S = 3600.0
_HINT = "apt-get install git"
_LOCAL_VARIABLES = {  # `git rev-parse --local-env-vars`, less what may hold a person's settings
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
_REMOTE = re.compile(r"^(?!file://)(?:\w[\w+.-]*://|[\w.-]+@[\w.-]+:)")
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_USER, _PASSWORD = "PIBUILD_GIT_USER", "PIBUILD_GIT_PASSWORD"
_HELPER = f'!printf \'username=%s\\npassword=%s\\n\' "${_USER}" "${_PASSWORD}"; :'
"""A credential helper: git's shell expands the variables, so that no command line has their values (gitcredentials(7)).

git adds the action as a word at the end, where `:` ignores it.
"""
_RECEIVED = re.compile(r"Receiving objects: +\d+% \((\d+)/(\d+)\)")
_SILENT = re.compile(
    r"could not resolve|failed to connect|couldn't connect|connection (?:refused|timed out|reset)"
    r"|no route to host|network is unreachable|from proxy|connect tunnel failed|resolve proxy",
    re.IGNORECASE,
)
_LACKING = re.compile(r"not our ref|unadvertised object|remote ref|no such commit", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTree:
    """A person's work tree."""

    files: tuple[str, ...]
    """Paths of the tracked files, existing or not, and of new files that are not ignored."""
    commit: str
    """The commit of HEAD."""
    changes: int
    """How many files differ from the commit."""


class Git:
    """The git of this machine, with the person's own proxies and credentials, without prompts.

    Credentials in a URL reach git through its environment: command lines are visible to every user of the machine.
    """

    def __init__(self, environ: Mapping[str, str], *, silence_s: float = 60.0) -> None:
        """Keep git's environment; a server that sends nothing for `silence_s` is unreachable."""
        self._environ = {key: value for key, value in environ.items() if key not in _LOCAL_VARIABLES}
        self._silence_s = silence_s

    @contextmanager
    def open_commit(
        self,
        location: str,
        commit: str,
        scratch_dir: Path,
        progress: Progress,
        is_wanted: Callable[[str], object] = lambda _path: True,
    ) -> Iterator[IO[bytes]]:
        """Yield a commit's files as a tar below one folder, as `git archive` makes it.

        Files that are neither in the clone nor wanted are left out. Raises SourceError if the clone lacks the commit or
        other files, UnreachableError if its server does not answer. Errors of git are raised at the end of the block.
        """
        environ = self._environ_with(location, commit, scratch_dir, progress)
        left_out = [f":(exclude,literal){path}" for path in _missing_paths(scratch_dir, commit, environ, is_wanted)]
        command = ["git", f"--git-dir={scratch_dir}", "archive", "--format=tar", "--prefix=commit/", commit, "--", "."]
        with running([*command, *left_out], environ, hint=_HINT) as tar:
            yield tar

    def make_archive(self, location: str, place: ArchivePlace, to: Path, scratch_dir: Path, progress: Progress) -> str:
        """Make an archive of a commit as the forge does, byte for byte; return its sha256.

        Measured: 24 of 24 complete repositories that TensorFlow 1.12.3 pins gave the pinned hash, zips only in the
        forge's own time zone.
        """
        environ = self._environ_with(location, place.commit, scratch_dir, progress)
        _missing_paths(scratch_dir, place.commit, environ, lambda _path: True)
        if not place.archive.endswith((".tar.gz", ".tgz", ".zip")):
            name = place.archive.rpartition("/")[2]
            raise SourceError(
                "an archive of this kind can't be made again", expected=".tar.gz, .tgz or .zip", found=name
            )
        kind = "zip" if place.archive.endswith(".zip") else "tar.gz"
        words = [f"--git-dir={scratch_dir}", "-c", "tar.tar.gz.command=gzip -n", "archive", f"--format={kind}"]
        words += [f"--prefix={place.prefix}", f"--output={to.absolute()}", place.commit]
        ended = _git(*words, environ=environ | {"TZ": "America/Los_Angeles"}, deadline_s=_ARCHIVE_DEADLINE_S)
        if ended.exit_code:
            raise SourceError("git archive failed", found=ended.last_words)
        return file_sha256(to)

    def resolve(self, location: str, ref: str) -> str:
        """Return the commit of a branch or a tag of a clone.

        Raises SourceError if it has none of that name, UnreachableError if its server does not answer.
        """
        names = [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"]  # ^{}: the commit of a signed tag
        if not _REMOTE.match(location):
            location = str(_objects_dir(location).parent)
        address = Address(location)
        words = [*self._server_options, "ls-remote", "--", address.without_credentials.reveal(), *names]
        ended = _git(*words, environ=self._server_environ(address), deadline_s=2 * self._silence_s)
        if ended.exit_code:
            raise self._fetch_error(ended.err, ref, address)
        commits = {name: commit for commit, _, name in (line.partition("\t") for line in ended.out.splitlines())}
        for name in names:
            if name in commits:
                return commits[name]
        raise SourceError(f"the clone has no branch or tag {ref!r}")

    def committed(self, location: str, commit: str, scratch_dir: Path, progress: Progress) -> int:
        """Return when a commit was made, in seconds since 1970. Raises as open_commit does."""
        environ = self._environ_with(location, commit, scratch_dir, progress)
        ended = _git(f"--git-dir={scratch_dir}", "show", "--no-patch", "--format=%ct", commit, environ=environ)
        if ended.exit_code:
            raise SourceError(f"the clone does not have the commit {commit}", found=ended.last_words)
        return int(ended.out.split()[0])

    def work_tree(self, folder: Path) -> WorkTree | None:
        """Return the state of a person's work tree; None if the folder is not the top of one."""
        if not (folder / ".git").exists():
            return None
        environ = self._environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_ALLOW_PROTOCOL": "none"}

        def ask(*words: str) -> str:
            ended = _git("-C", str(folder), *words, environ=environ)
            if ended.exit_code:
                raise SourceError(f"git can't read the work tree {folder}", found=ended.last_words)
            return ended.out

        environ |= _harmless(ask("config", "--list", "--show-scope", "--name-only", "-z"), environ)
        files = ask("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        commit = ask("rev-parse", "HEAD").strip()
        # a submodule has settings of its own
        changes = ask("status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all").split("\0")
        return WorkTree(files=tuple(dict.fromkeys(filter(None, files))), commit=commit, changes=len(changes) - 1)

    @property
    def _server_options(self) -> list[str]:
        """Options that end silent transfers, and keep git from asking for a password."""
        settings = ("core.askPass=", "http.lowSpeedLimit=1", f"http.lowSpeedTime={self._silence_s:.0f}")
        return [word for setting in settings for word in ("-c", setting)]

    def _server_environ(self, address: Address) -> dict[str, str]:
        """Return the environment for asking a server: the person's own, without prompts, with its credentials."""
        return (
            {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
            | self._environ
            | _credentials(address, self._environ)
            | {
                "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
                "GIT_ASKPASS": "",
                "GIT_TERMINAL_PROMPT": "0",
                "LC_ALL": "C",
                "SSH_ASKPASS": "",
            }
        )

    def _environ_with(self, location: str, commit: str, scratch_dir: Path, progress: Progress) -> dict[str, str]:
        """Make a repository that can read the commit; return the environment in which it does."""
        environ = {key: value for key, value in self._environ.items() if not key.startswith(("GIT_", "XDG_"))} | {
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": str(scratch_dir),
            "LC_ALL": "C",
        }
        ended = _git("init", "--quiet", "--bare", "--template=", str(scratch_dir), environ=environ)
        if ended.exit_code:
            raise SourceError("git can't make a repository", found=ended.last_words)
        if _REMOTE.match(location):
            self._fetch(Address(location), commit, scratch_dir, progress)
        else:
            environ |= {"GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(_objects_dir(location))}
        return environ

    def _fetch(self, address: Address, commit: str, scratch_dir: Path, progress: Progress) -> None:
        """Fetch one commit, without its history, from a server."""
        command = ["git", f"--git-dir={scratch_dir}", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"]
        command += [*self._server_options, "fetch", "--no-recurse-submodules", "--depth=1", "--no-tags", "--progress"]
        command += ["--", address.without_credentials.reveal(), commit]
        with subprocess.Popen(
            command,
            env=self._server_environ(address),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as program:
            try:
                message = self._listen(program, progress, address)
            finally:
                program.kill()
        if program.returncode:
            check_space(message)
            raise self._fetch_error(message, f"the commit {commit}", address)

    def _listen(self, program: subprocess.Popen[bytes], progress: Progress, address: Address) -> str:
        """Return all that a program writes to stderr. Raises UnreachableError if it writes nothing for too long."""
        message, stderr = "", program.stderr
        assert stderr  # noqa: S101  asked for
        while True:
            if not select.select([stderr], [], [], self._silence_s)[0]:
                raise UnreachableError(f"{self._server(address)} sent nothing for {self._silence_s:.0f} s")
            part = os.read(stderr.fileno(), 1 << 16).decode(errors="replace")
            if not part:
                program.wait()
                return message
            message += part
            if counted := _RECEIVED.findall(part):
                progress(int(counted[-1][0]), int(counted[-1][1]), "objects")

    def _fetch_error(self, message: str, ref: str, address: Address) -> SourceError:
        """Return the error for a failed request to a server."""
        found = address.censored(last_words(message))
        if _SILENT.search(message):
            hint = "check git's http.proxy, and http_proxy, https_proxy, all_proxy and no_proxy"
            return UnreachableError(f"{self._server(address)} is not reachable", found=found, hint=hint)
        if _LACKING.search(message):
            return SourceError(f"the server does not have {ref}", found=found)
        return SourceError("git fetch failed", found=found)

    def _server(self, address: Address) -> str:
        """Return a URL's host for messages, with the proxy that git is set up to use for it."""
        url, host = address.without_credentials.reveal(), address.host or "the server"
        scheme = url.partition("://")[0]
        ended = _git("config", "--get-urlmatch", "http.proxy", url, environ=self._environ)
        names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        proxy = ended.out.strip() or next((self._environ[name] for name in names if self._environ.get(name)), "")
        place = Address(proxy).place
        return f"{host} (through the proxy {place})" if place else host


def _credentials(address: Address, environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables with a credential helper that knows this server's user and password, and no other server's."""
    if address.credentials is None or not _HTTP.match(address.reveal()):
        return {}
    user, password = address.credentials
    origin = f"credential.{address.reveal().partition('://')[0]}://{address.place}"
    settings = ((f"{origin}.helper", ""), (f"{origin}.helper", _HELPER))  # the empty one ends the list of others
    return {_USER: user, _PASSWORD: password} | _added_settings(settings, environ)


def _harmless(listed: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables that keep git from running the programs that a folder's own settings name.

    `listed` has the names of all settings, each after its scope. Filters of the person's own settings stay.
    """
    words = iter(listed.split("\0"))
    own = {name for scope, name in zip(words, words, strict=False) if scope in ("local", "worktree")}
    drivers = {name.rpartition(".")[0] for name in own if name.startswith("filter.")}
    settings = [("core.fsmonitor", "false"), ("core.hooksPath", os.devnull)]
    for driver in sorted(drivers):
        settings += [(f"{driver}.clean", ""), (f"{driver}.process", ""), (f"{driver}.required", "false")]
    return _added_settings(settings, environ)


def _added_settings(settings: Sequence[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables that add settings to those that an environment already has (GIT_CONFIG_COUNT, git-config(1))."""
    before = environ.get("GIT_CONFIG_COUNT", "")
    first = int(before) if before.isdecimal() else 0
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _git(*words: str, environ: Mapping[str, str], deadline_s: float = _DEADLINE_S) -> Ended:
    return run(["git", *words], environ, hint=_HINT, deadline_s=deadline_s)


def _missing_paths(
    git_dir: Path, commit: str, environ: Mapping[str, str], is_wanted: Callable[[str], object]
) -> list[str]:
    """Check that a commit and the wanted files of it exist, because git archive may ignore missing ones.

    Return the paths of files that are missing and not wanted.
    """

    def ask(*words: str) -> Ended:
        return _git(f"--git-dir={git_dir}", *words, environ=environ)

    if ask("cat-file", "-e", f"{commit}^{{commit}}").exit_code:
        raise SourceError(f"the clone does not have the commit {commit}")
    listed = ask("rev-list", "--objects", "--no-walk", "--missing=print", commit)
    missing_objects = {line[1:] for line in listed.out.splitlines() if line.startswith("?")}
    if not missing_objects and not listed.exit_code:
        return []
    files = ask("ls-tree", "-r", "-z", "--full-tree", commit) if missing_objects else listed
    entries = [line.partition("\t") for line in files.out.split("\0") if line] if not files.exit_code else []
    missing = {path: head.split()[2] for head, _, path in entries if head.split()[2] in missing_objects}
    if files.exit_code or set(missing.values()) != missing_objects or any(is_wanted(path) for path in missing):
        found = f"{len(missing_objects)} objects are missing" if missing_objects else listed.last_words
        raise SourceError("the clone lacks objects", expected=f"all files of {commit}", found=found)
    return sorted(missing)


def _objects_dir(location: str) -> Path:
    """Return the folder with the objects of a clone, bare or not."""
    folder = Path(unquote(urlsplit(location).path) if location.startswith("file://") else location).expanduser()
    for objects_dir in (folder / "objects", folder / ".git" / "objects"):
        if objects_dir.is_dir():
            return objects_dir.absolute()
    raise SourceError("there is no clone in this folder" if folder.is_dir() else "there is no such folder")


def _quoted(path: Path) -> str:
    """Return a path as it stands in GIT_ALTERNATE_OBJECT_DIRECTORIES, where colons separate (git(1))."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
