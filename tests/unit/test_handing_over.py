"""What goes into a container is where it belongs, whatever its tar was like."""

import io
import tarfile
from pathlib import PurePosixPath

from pibuild.adapters.container_files import inputs_tar
from tests.makers.plans import make_run


def test_a_file_with_a_long_path_lies_under_its_inputs_folder(tmp_path):
    long = f"{'d' * 90}/{'f' * 90}"
    with tarfile.open(tmp_path / "in.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(long)
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    run = make_run(inputs=(("/work/site", tmp_path / "in.tar"),))
    with tarfile.open(fileobj=io.BytesIO(b"".join(inputs_tar(run)))) as tar:
        names = tar.getnames()
        assert f"work/site/{long}" in names
        assert tar.extractfile(f"work/site/{long}").read() == b"abc"
        assert {PurePosixPath(name).parts[0] for name in names} == {"work"}


def test_a_hard_link_leads_to_its_file_under_the_inputs_folder(tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        (tmp_path / "file").write_bytes(b"abc")
        (tmp_path / "link").hardlink_to(tmp_path / "file")
        tar.add(tmp_path / "file", "data/file")
        tar.add(tmp_path / "link", "data/link")
        assert tar.getmember("data/link").islnk()
    run = make_run(inputs=(("/work/files", tmp_path / "in.tar"),))
    with tarfile.open(fileobj=io.BytesIO(b"".join(inputs_tar(run)))) as tar:
        assert tar.extractfile("work/files/data/link").read() == b"abc"


def test_a_large_file_is_handed_over_in_parts(tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        info = tarfile.TarInfo("large")
        info.size = 10_000_001
        tar.addfile(info, io.BytesIO(b"x" * info.size))
    parts = list(inputs_tar(make_run(inputs=(("/work/site", tmp_path / "in.tar"),))))
    assert max(map(len, parts)) < 4_000_000
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
        assert tar.extractfile("work/site/large").read() == b"x" * 10_000_001
