"""Readers of a published index while it changes: pip, and a client that reads pages and wheels as fast as it can."""

import hashlib
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urljoin
from urllib.request import urlopen

from model import ViolationError
from promises import download

_LINK = re.compile(r'href="([^"#]+)#sha256=([0-9a-f]{64})"')


@contextmanager
def reading(index_url: str) -> Iterator[None]:
    """Read an index from which pip can install `thing`, in a loop, until the end of the block.

    Raises ViolationError at the end if a reader ever saw a broken page, or a wheel with another hash.
    """
    over, faults = threading.Event(), list[str]()
    readers = (_fault_for_pip, 0.6), (_fault, 0.1)
    threads = [threading.Thread(target=_read, args=(index_url, *reader, over, faults)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if faults:
        raise ViolationError(f"a reader saw a broken index {len(faults)} times: {faults[0]}")


def _read(
    index_url: str, fault_of: Callable[[str], str], pause_s: float, over: threading.Event, faults: list[str]
) -> None:
    """Read an index at least once, and then until the end, and list the faults."""
    while True:
        if fault := fault_of(index_url):
            faults.append(fault)
        if over.wait(pause_s):
            return


def _fault_for_pip(index_url: str) -> str:
    """Return what pip says if it can't download the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        ended = download(index_url, "thing", Path(folder))
        return f"pip: {ended.stderr.strip()}" if ended.returncode else ""


def _fault(index_url: str) -> str:
    """Return what is wrong with the page of a project and its wheels; empty if nothing is."""
    page_url = urljoin(index_url, "thing/")
    try:
        with urlopen(page_url, timeout=5) as answer:
            page = answer.read().decode()
        links = _LINK.findall(page)
        if not links or "</html>" not in page:
            return f"{page_url} is no page of an index: {page[:200]!r}"
        for link, expected in links[-2:]:
            with urlopen(urljoin(page_url, link), timeout=5) as answer:
                found = hashlib.file_digest(answer, "sha256").hexdigest()
            if found != expected:
                return f"{link} has the sha256 {found}, expected {expected}"
    except (URLError, ConnectionError, TimeoutError) as error:
        return f"{page_url}: {error}"
    return ""
