"""Pack a folder as a wheel: `pack_wheel.py FOLDER DIST_INFO WHEEL`.

Writes RECORD into DIST_INFO, which lies in FOLDER. Every file's time is $SOURCE_DATE_EPOCH, so that equal content
gives equal bytes. Runs in the build's container with its own Python 3.9, so nothing of pibuild can be imported.
"""

import hashlib
import os
import sys
import time
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path


def main(folder: Path, dist_info: Path, wheel: Path) -> None:
    """Write RECORD, then the wheel."""
    record = dist_info / "RECORD"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [_record_line(path.relative_to(folder), path.read_bytes()) for path in files]
    record.write_text("".join([*lines, f"{record.relative_to(folder)},,\n"]), encoding="utf-8")
    moment = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in [*files, record]:
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), moment)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if path.suffix == ".so" else 0o100644) << 16
            archive.writestr(entry, path.read_bytes())


def _record_line(name: Path, content: bytes) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
