"""The real client against a real server on this machine that misbehaves in every way that servers do."""

import contextlib
import gzip
import hashlib
import time
from pathlib import Path

import pytest

from pibuild.adapters.http import Http, NotThereError
from pibuild.errors import ResourceError, SourceError, TooLargeError, UnreachableError
from tests.failures import fails
from tests.fakes.servers import AnswerServer, free_port, running, serve_whole

CONTENT = hashlib.shake_256(b"some file").digest(3_000_000)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


whole = serve_whole(CONTENT)


def without_ranges(request):
    request.give(200, CONTENT)


def dropped_after(size_bytes):
    """Serve from where it is asked, and drop the line after so many bytes."""

    def serve(request):
        begin = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        rest = CONTENT[begin:]
        headers = {"Content_Range": f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}"} if begin else {}
        request.give(206 if begin else 200, rest[:size_bytes], length=len(rest), **headers)

    return serve


def hung_up(request):
    request.close_connection = True


def status(code, **headers):
    return lambda request: request.give(code, b"sorry", **headers)


@pytest.fixture
def server():
    with running(AnswerServer()) as server:
        yield server


@pytest.fixture
def said():
    return []


@pytest.fixture
def waits():
    return []


@pytest.fixture
def client(said, waits):
    client = Http({}, note=said.append, sleep=waits.append)
    yield client
    client.close()


@pytest.fixture
def part(tmp_path):
    return tmp_path / "file.part"


def ignore(_done, _total, _unit):
    pass


def test_a_download_returns_the_sha256_of_the_file(server, client, part):
    server.answers = [whole]

    assert client.download(server.url, part, ignore) == sha256(CONTENT)
    assert part.read_bytes() == CONTENT


def test_progress_is_reported_up_to_the_whole_size(server, client, part):
    server.answers, told = [whole], []
    client.download(server.url, part, lambda *how_much: told.append(how_much))

    assert told[-1] == (3000, 3000, "kB")


def test_a_download_continues_where_an_earlier_one_ended(server, client, part):
    server.answers = [whole]
    part.write_bytes(CONTENT[:1_000_000])

    assert client.download(server.url, part, ignore) == sha256(CONTENT)
    assert [asked["Range"] for asked in server.asked] == ["bytes=1000000-"]


def test_a_complete_partial_file_is_not_downloaded_again(server, client, part):
    server.answers = [whole]
    part.write_bytes(CONTENT)

    assert client.download(server.url, part, ignore) == sha256(CONTENT)


def test_a_partial_file_longer_than_the_file_is_replaced(server, client, part):
    server.answers = [whole]
    part.write_bytes(CONTENT + b"more")

    assert client.download(server.url, part, ignore) == sha256(CONTENT)


def test_without_range_support_the_download_starts_over(server, client, part):
    server.answers = [without_ranges]
    part.write_bytes(b"x" * 1000)

    assert client.download(server.url, part, ignore) == sha256(CONTENT)


def test_after_a_wrong_range_the_download_starts_over(server, client, part):
    server.answers = [lambda request: request.give(206, b"x", Content_Range="bytes 5-5/9"), whole]
    part.write_bytes(CONTENT[:1000])

    assert client.download(server.url, part, ignore) == sha256(CONTENT)
    assert "Range" not in server.asked[-1]


def test_a_dropped_connection_is_resumed_with_a_note(server, client, part, said):
    server.answers = [dropped_after(1_000_000), dropped_after(1_000_000), whole]

    assert client.download(server.url, part, ignore) == sha256(CONTENT)
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=1000000-", "bytes=2000000-"]
    assert said[0] == "  127.0.0.1: the connection broke after 1.0 MB of 3.0 MB; again in 1.0 s"


def test_drops_with_progress_in_between_are_retried_longer(server, client, part):
    server.answers = [dropped_after(400_000)]

    assert client.download(server.url, part, ignore) == sha256(CONTENT)
    assert len(server.asked) == 8


def test_a_download_that_always_drops_fails_and_keeps_its_part(server, client, part):
    server.answers = [dropped_after(1_000_000), dropped_after(0)]

    with fails(SourceError, naming="127.0.0.1") as caught:
        client.download(server.url, part, ignore)
    assert "after 1.0 MB of 3.0 MB" in caught.value.found
    assert part.read_bytes() == CONTENT[:1_000_000]


def test_a_download_that_nearly_stands_still_is_ended(server, client, part, monkeypatch):
    """Each byte comes before the time-out, so that nothing else would end it."""
    monkeypatch.setattr("pibuild.adapters.least_speed.PERIOD_S", 0.2)

    def drip(request):
        request.send_response(200)
        request.send_header("Content-Length", "40")
        request.end_headers()
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                request.wfile.write(b"x")
                time.sleep(0.05)
        request.close_connection = True

    server.answers = [drip]
    with fails(SourceError, naming="in a period"):
        client.download(server.url, part, ignore)
    assert len(server.asked) == 4  # the bytes that came are no progress


def test_a_connection_closed_without_an_answer_is_retried(server, client, part, said):
    server.answers = [hung_up, whole]

    assert client.download(server.url, part, ignore) == sha256(CONTENT)
    assert "the connection broke" in said[0]


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_with_a_note(server, client, part, said, code):
    server.answers = [status(code), whole]

    assert client.download(server.url, part, ignore) == sha256(CONTENT)
    assert f"it answers {code}" in said[0]


def test_the_pauses_between_retries_grow(server, client, part, waits):
    server.answers = [status(503)]

    with fails(SourceError, naming=("127.0.0.1", "503")) as caught:
        client.download(server.url, part, ignore)
    assert waits == [1, 2, 4]
    assert "it answers 503" in caught.value.found


def test_retry_after_is_obeyed_up_to_a_limit(server, client, part, waits):
    server.answers = [status(503, Retry_After="7"), status(503, Retry_After="3600"), whole]
    client.download(server.url, part, ignore)

    assert waits == [7, 60]


@pytest.mark.parametrize(
    ("code", "kind"), [(401, SourceError), (403, SourceError), (404, NotThereError), (410, NotThereError)]
)
def test_a_refused_request_is_not_repeated(server, client, part, code, kind):
    server.answers = [status(code)]

    with fails(kind, naming=("127.0.0.1", str(code))):
        client.download(server.url, part, ignore)
    assert len(server.asked) == 1
    assert not part.exists()


def test_redirections_are_followed(server, client, part):
    server.answers = [lambda request: request.give(302, Location="/elsewhere"), whole]

    assert client.download(server.url, part, ignore) == sha256(CONTENT)


@pytest.mark.parametrize("location", ["http://[::1", f"http://{'a' * 70}.b/", "http://\xff\xfe/", "file:///etc/passwd"])
def test_a_redirection_to_what_is_no_address_is_refused(server, client, part, location):
    server.answers = [status(302, Location=location)]
    for ask in (lambda: client.get(server.url, part, 9), lambda: client.has(server.url)):
        with pytest.raises(SourceError):
            ask()


def test_a_length_of_thousands_of_digits_is_ignored(server, client, part):
    server.answers = [lambda request: request.give(200, b"content", length="1" * 5000)]
    assert client.get(server.url, part, 9)
    assert part.read_bytes() == b"content"


@pytest.mark.parametrize("answer", [{"length": 300}, {"Content_Encoding": "gzip"}])
def test_a_damaged_page_is_named_after_some_tries(server, client, answer):
    server.answers = [lambda request: request.give(200, b"content", **answer)]
    with fails(SourceError, naming="damaged"):
        client.page(server.url, "text/html")


def test_a_content_encoding_is_not_decoded(server, client, part):
    packed = gzip.compress(b"a tar")
    server.answers = [lambda request: request.give(200, packed, Content_Encoding="gzip")]

    assert client.download(server.url, part, ignore) == sha256(packed)


def test_a_server_that_is_not_there_is_unreachable_after_two_tries(client, part, said):
    port = free_port()

    with fails(UnreachableError, naming="127.0.0.1") as caught:
        client.download(f"http://127.0.0.1:{port}/", part, ignore)
    assert "refused" in caught.value.found
    assert "http_proxy" in caught.value.hint
    assert len(said) == 1


def test_a_name_that_does_not_resolve_is_unreachable(client, part):
    with fails(UnreachableError, naming="no-such-host.invalid"):
        client.download("http://no-such-host.invalid/", part, ignore)


def test_a_proxy_of_the_environment_is_used(server, part, said, monkeypatch):
    server.answers = [whole]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    client = Http({}, note=said.append)

    assert client.download("http://upstream.invalid/file", part, ignore) == sha256(CONTENT)
    assert server.asked[0]["Host"] == "upstream.invalid"
    client.close()


def test_a_missing_certificate_file_is_named(part, said):
    client = Http({"SSL_CERT_FILE": "/no/such/file.pem"}, note=said.append)

    with fails(SourceError, naming="/no/such/file.pem") as caught:
        client.download("https://127.0.0.1:1/", part, ignore)
    assert "/no/such/file.pem" in caught.value.found


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_named_with_what_is_needed_and_free(server, client):
    server.answers = [whole]

    with fails(ResourceError, naming=("/dev", server.url)) as caught:
        client.download(server.url, Path("/dev/full"), ignore)
    assert caught.value.expected.endswith("more")
    assert caught.value.found.endswith("free")


def test_a_file_url_is_copied(client, part, tmp_path):
    (tmp_path / "a b").write_bytes(b"x")

    assert client.download((tmp_path / "a b").as_uri(), part, ignore) == sha256(b"x")


def test_a_missing_file_of_a_file_url_is_named(client, part, tmp_path):
    with fails(SourceError, naming=tmp_path / "none"):
        client.download((tmp_path / "none").as_uri(), part, ignore)


def test_a_page_has_its_content_type_and_final_address(server, client):
    server.answers = [lambda request: request.give(200, b"{}", Content_Type="application/json; charset=utf-8")]
    page = client.page(server.url, "application/json")

    assert (page.content, page.kind, page.url) == (b"{}", "application/json", server.url)
    assert server.asked[0]["Accept"] == "application/json"


@pytest.mark.parametrize("packed", [False, True])
def test_a_page_that_is_too_large_is_refused_before_it_is_read(server, client, monkeypatch, packed):
    monkeypatch.setattr("pibuild.adapters.http._LARGEST_PAGE_BYTES", 1_000_000)
    content = bytes(1_000_001)
    headers = {"Content_Encoding": "gzip"} if packed else {}
    server.answers = [lambda request: request.give(200, gzip.compress(content) if packed else content, **headers)]

    with fails(TooLargeError, naming=(server.url, "1000000")):
        client.page(server.url, "text/html")


def test_a_page_as_large_as_allowed_is_read(server, client, monkeypatch):
    monkeypatch.setattr("pibuild.adapters.http._LARGEST_PAGE_BYTES", 1_000_000)
    server.answers = [lambda request: request.give(200, bytes(1_000_000))]

    assert client.page(server.url, "text/html").content == bytes(1_000_000)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named_without_its_password(part, said, monkeypatch, scheme):
    port = free_port()
    monkeypatch.setenv(f"{scheme}_proxy", f"http://me:secret@127.0.0.1:{port}")
    client = Http({}, note=said.append, sleep=lambda _wait_s: None)
    with pytest.raises(UnreachableError) as caught:
        client.download(f"{scheme}://files.invalid/", part, ignore)
    assert f"127.0.0.1:{port}" in caught.value.what
    assert f"{scheme}_proxy" in caught.value.hint
    assert "secret" not in str(caught.value)
