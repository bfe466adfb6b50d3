"""Which versions of its libraries' symbols a file needs, from the section that the loader reads (`.gnu.version_r`).

Source: Linux Standard Base Core, section 10.7.5 Version Requirements.
"""

from struct import unpack_from

import numpy as np

from pibuild.machinecode.symbols import Texts

_ENTRY_BYTES = 16
"""Of a library as of a version."""
_INDEX = 0x7FFF


def version_needs(content: bytes, texts: bytes, libraries: int) -> dict[int, tuple[str, str]]:
    """Give (library, version) for each index that the version table uses; a library's own versions have no library.

    ValueError where there is no room for as many as it says: a damaged count says billions, or a link leads back.
    """
    starts: dict[int, tuple[int, int]] = {}
    room, place = len(content) // _ENTRY_BYTES - libraries, 0
    for _ in range(libraries if room >= 0 else 0):
        _, count, library, first, onward = unpack_from("<HHIII", content, place)
        at, room = place + first, room - count
        for _ in range(count if room >= 0 else 0):
            _, _, index, version, step = unpack_from("<IHHII", content, at)
            starts[index & _INDEX] = library, version
            at += step
        place += onward
    if room < 0:
        raise ValueError("it has no room for the versions that it says to need")
    names = Texts(texts).at(np.array(list(starts.values()), np.int64).reshape(-1))
    return dict(zip(starts, zip(names, names, strict=True), strict=True))
