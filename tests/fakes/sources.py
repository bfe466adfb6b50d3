"""What sources come from, without network or process."""

import io
from contextlib import contextmanager
from hashlib import sha256

from pibuild.errors import SourceError, UnreachableError
from pibuild.sources.fetcher import Fetched


class FakeFetcher:
    def __init__(self):
        self.fetched = []

    def fetch_all(self, sources):
        self.fetched += [source.name for source in sources]
        return tuple(
            Fetched(name=one.name, tree=one.tree, path=None, size_bytes=1, place="here", cached=False)
            for one in sources
        )


class FakeWeb:
    """Answers with bytes or an error, by the address or the file's name; goes on behind a part as a server would."""

    def __init__(self, answers):
        self.answers, self.asked = dict(answers), []

    def download(self, asked, to, progress):
        name = asked if isinstance(asked, str) else getattr(asked, "file", None) or asked.npm
        self.asked.append(name)
        answer = self.answers.get(name, SourceError("it answers 404 Not Found"))
        if isinstance(answer, Exception):
            raise answer
        begin = to.stat().st_size if to.exists() else 0
        with to.open("ab") as file:
            file.write(answer[begin:])
        progress(len(answer), len(answer), "B")
        return sha256(to.read_bytes()).hexdigest()


class FakeGit:
    """Holds the tar of one commit by the clone's place; `breaks` fails when the tar has been read."""

    def __init__(self, clones, *, breaks=False, state=None):
        self.clones, self.asked, self.breaks, self.state = dict(clones), [], breaks, state

    def work_tree(self, _folder):
        return self.state

    @contextmanager
    def open_commit(self, location, commit, _scratch_dir, _progress, _is_wanted):
        self.asked.append((location, commit))
        if location not in self.clones:
            raise SourceError("there is no such folder")
        yield io.BytesIO(self.clones[location])
        if self.breaks:
            raise SourceError("git failed")

    def make_archive(self, location, place, to, _scratch_dir, _progress):
        self.asked.append((location, place.commit))
        if location not in self.clones:
            raise SourceError("there is no such folder")
        to.write_bytes(self.clones[location])
        return sha256(self.clones[location]).hexdigest()


class NoWeb:
    def download(self, *words):
        raise AssertionError(words)


class SilentWeb:
    def download(self, *_):
        raise UnreachableError("pi.example is not reached", hint="look at the network")


class PoolLess:
    """A client for which no pool is as Debian lays it out: it gives the second address that it is asked for."""

    def __init__(self, sha256):
        self.asked, self.sha256 = [], sha256

    def download(self, url, _to, _progress, _route):
        self.asked.append(url)
        if len(self.asked) % 2:
            raise SourceError("it answers 404")
        return self.sha256
