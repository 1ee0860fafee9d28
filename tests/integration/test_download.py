"""Downloads from a real HTTP server that drops, forgets, lies, redirects and dawdles."""

import errno
import hashlib
import random
import re
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import find_free_port
from file_server import Fault, certificate, serving

from edge_vision.core.errors import DownloadError
from edge_vision.models.catalog.download import Downloader, Patience
from edge_vision.models.catalog.entries import RemoteFile
from edge_vision.runtime.backoff import Backoff

CONTENT = random.Random(1).randbytes(500_000)
FILES = {"/model.onnx": CONTENT}
QUICK = Patience(silence_s=0.5, failures=3, lock_s=5.0, backoff=Backoff(first_s=0.01, most_s=0.02))


def remote(content: bytes = CONTENT, **changes: object) -> RemoteFile:
    """A file as the catalogue has it."""
    facts = {
        "path": "model.onnx",
        "url": "https://example.org/model.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        **changes,
    }
    return RemoteFile.model_validate(facts)


def nothing(_done: int, _expected: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def downloader(tmp_path: Path) -> Downloader:
    """One that may use http, with little patience."""
    return Downloader(tmp_path / "downloads", plain_http=True, patience=QUICK)


def left(tmp_path: Path, ending: str = ".part") -> bytes | None:
    """What lies in the folder of downloads."""
    path = tmp_path / "downloads" / f"{remote().sha256}{ending}"
    return path.read_bytes() if path.exists() else None


def test_a_file_comes_whole_and_only_once(downloader: Downloader, tmp_path: Path) -> None:
    """The second call takes what the first brought; progress ends at the size."""
    heard: list[tuple[int, int]] = []
    with serving(FILES) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", lambda *both: heard.append(both))
        again = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path == again
    assert path.read_bytes() == CONTENT
    assert [one.range for one in server.asked] == [None]
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert heard == sorted(heard)
    assert left(tmp_path) is None


def test_a_damaged_download_is_fetched_again(downloader: Downloader) -> None:
    """What is kept is believed only while its checksum holds."""
    with serving(FILES) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
        path.write_bytes(CONTENT[:-1] + b"!")
        downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_dropped_connection_goes_on_where_it_stopped(downloader: Downloader) -> None:
    """Not one byte is sent twice."""
    with serving(FILES, Fault(drop_after=200_000), Fault(drop_after=100_000)) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert [one.range for one in server.asked] == [None, "bytes=200000-", "bytes=300000-"]
    assert server.sent == len(CONTENT)


def test_a_line_that_drops_often_but_gets_on_is_not_given_up(downloader: Downloader) -> None:
    """Six drops are more than three failures, but none of them was in a row without progress."""
    with serving(FILES, always=Fault(drop_after=80_000)) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 7


def test_a_line_that_drops_and_gets_nowhere_is_given_up(downloader: Downloader, tmp_path: Path) -> None:
    """Dropping at the same place for ever is no progress, even when every attempt brings bytes."""
    fault = Fault(drop_after=200_000, forget_range=True)
    text = "ended after 200000 of 500000 bytes; given up after 3 attempts"
    with serving(FILES, always=fault) as server, pytest.raises(DownloadError, match=text):
        downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert len(server.asked) == 3
    assert left(tmp_path) == CONTENT[:200_000]


def test_a_server_that_does_not_resume_sends_all_of_it(downloader: Downloader) -> None:
    """A 200 to a request for a range begins again from the first byte."""
    with serving(FILES, Fault(drop_after=200_000), Fault(forget_range=True)) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert server.sent == 200_000 + len(CONTENT)


def test_a_range_nobody_asked_for_is_not_appended(downloader: Downloader) -> None:
    """A server that lies about where it starts is asked for the whole."""
    with serving(FILES, Fault(drop_after=200_000), Fault(wrong_range=True)) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert [one.range for one in server.asked] == [None, "bytes=200000-", None]


def test_a_part_of_another_version_is_thrown_away(downloader: Downloader, tmp_path: Path) -> None:
    """Its end fits its start in length but not in content: the checksum tells, and the whole is fetched."""
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{remote().sha256}.part").write_bytes(b"x" * 1000)
    with serving(FILES) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert [one.range for one in server.asked] == ["bytes=1000-", None]


@pytest.mark.parametrize("length", [500_000, 500_001])
def test_a_part_that_is_too_long_or_wrong_is_thrown_away(length: int, downloader: Downloader, tmp_path: Path) -> None:
    """A part as long as the file, or longer, is judged without asking for an empty range."""
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{remote().sha256}.part").write_bytes(b"x" * length)
    with serving(FILES) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert [one.range for one in server.asked] == [None]


def test_a_whole_part_needs_no_server(downloader: Downloader, tmp_path: Path) -> None:
    """Killed between the last byte and the renaming."""
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{remote().sha256}.part").write_bytes(CONTENT)
    path = downloader.fetch(remote(), "http://127.0.0.1:1/model.onnx", nothing)
    assert path.read_bytes() == CONTENT


def test_an_upset_server_is_asked_again(downloader: Downloader) -> None:
    """503, then 500, then the file."""
    with serving(FILES, Fault(status=503), Fault(status=500)) as server:
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 3


FLIPPED = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


@pytest.mark.parametrize(
    "fault, text, requests",
    [
        (Fault(status=404), "404 Not Found", 1),
        (Fault(status=403), "403 Forbidden", 1),
        (Fault(status=500), "500 Internal Server Error; given up after 3 attempts", 3),
        (Fault(body=FLIPPED), f"has sha256 {hashlib.sha256(FLIPPED).hexdigest()}, the catalogue says", 1),
        (Fault(body=CONTENT + b"x"), "offers 500001 bytes, the catalogue says 500000", 1),
        (Fault(body=CONTENT[:-1]), "offers 499999 bytes, the catalogue says 500000", 1),
        (Fault(body=CONTENT + b"x" * 900_000, unsized=True), "sends more than the 500000 bytes", 1),
        (Fault(body=b"<html>sign in</html>", unsized=True), "ended after 20 of 500000 bytes; given up after 3", 3),
        (Fault(encoding="gzip"), "comes as gzip, not as it is", 1),
        (Fault(location="file:///etc/passwd"), "Redirection to url 'file:///etc/passwd' is not allowed", 1),
        (Fault(location="ftp://127.0.0.1/model.onnx"), "redirects to ftp://127.0.0.1/model.onnx, which is not", 1),
        (Fault(piece=1000, pause_s=2.0), "no answer within the time limit; given up after 3 attempts", 3),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_and_nothing_is_put_in_place(
    fault: Fault, text: str, requests: int, downloader: Downloader, tmp_path: Path
) -> None:
    """The error names the address and the figure; what will not mend is not tried again."""
    with serving(FILES, always=fault) as server, pytest.raises(DownloadError, match=re.escape(text)) as caught:
        downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert str(caught.value).startswith(f"{server.url}/model.onnx: ")
    assert len(server.asked) == requests
    assert left(tmp_path, "") is None


def test_more_than_declared_is_not_stored(downloader: Downloader, tmp_path: Path) -> None:
    """A server without end fills no disk, and nothing of what it sent is kept."""
    fault = Fault(body=CONTENT + b"x" * 900_000, unsized=True)
    with serving(FILES, always=fault) as server, pytest.raises(DownloadError, match="sends more than"):
        downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert left(tmp_path) == b""


def test_a_wrong_file_says_both_checksums_and_is_not_kept(downloader: Downloader, tmp_path: Path) -> None:
    """The next call starts afresh."""
    with serving(FILES, always=Fault(body=FLIPPED)) as server, pytest.raises(DownloadError) as caught:
        downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert hashlib.sha256(FLIPPED).hexdigest() in str(caught.value)
    assert remote().sha256 in str(caught.value)
    assert left(tmp_path) is None


def test_a_dripping_server_is_given_up(tmp_path: Path) -> None:
    """It sends something before every time limit, and would do so for days."""
    patience = Patience(
        silence_s=0.5, start_s=0.3, least_rate=10_000_000, failures=2, backoff=Backoff(first_s=0.01, most_s=0.01)
    )
    downloader = Downloader(tmp_path, plain_http=True, patience=patience)
    text = r"only \d+ of 500000 bytes within 0 s; given up after 2 attempts"
    with serving(FILES, always=Fault(piece=100, pause_s=0.05)) as server, pytest.raises(DownloadError, match=text):
        downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)


def test_nobody_listens(downloader: Downloader) -> None:
    """Refused is said, and tried again: a server may be starting."""
    url = f"http://127.0.0.1:{find_free_port()}/model.onnx"
    with pytest.raises(DownloadError, match="Connection refused; given up after 3 attempts"):
        downloader.fetch(remote(), url, nothing)


def test_a_name_that_is_not_known(downloader: Downloader) -> None:
    """What the resolver says, and the address."""
    with pytest.raises(DownloadError, match=r"http://models\.invalid/model\.onnx: .+; given up after 3 attempts"):
        downloader.fetch(remote(), "http://models.invalid/model.onnx", nothing)


def test_a_server_that_accepts_and_is_silent(downloader: Downloader) -> None:
    """The wait for an answer ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/model.onnx"
        with pytest.raises(DownloadError, match="no answer within the time limit; given up after 3 attempts"):
            downloader.fetch(remote(), url, nothing)


def test_http_is_not_opened_where_https_is_due(tmp_path: Path) -> None:
    """Without a mirror that was named with http://, nothing goes over http."""
    with serving(FILES) as server, pytest.raises(DownloadError, match="unknown url type: http"):
        Downloader(tmp_path, patience=QUICK).fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert server.asked == []


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """The connection is not used, and not tried again."""
    pem = certificate(tmp_path)
    with serving(FILES, certificate=pem) as server, pytest.raises(DownloadError, match="is not trusted: self-signed"):
        Downloader(tmp_path, patience=QUICK).fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert server.asked == []


def test_a_certificate_of_the_house_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names the authority of a closed network; a redirect from https to http is refused all the same."""
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with serving(FILES, certificate=pem) as server, serving(FILES) as plain:
        path = Downloader(tmp_path / "one", patience=QUICK).fetch(remote(), f"{server.url}/model.onnx", nothing)
        server.faults.append(Fault(location=f"{plain.url}/model.onnx"))
        with pytest.raises(DownloadError, match=re.escape(f"redirects to {plain.url}/model.onnx, which is not https")):
            Downloader(tmp_path / "two", patience=QUICK).fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert plain.asked == []


def test_a_redirect_is_followed(downloader: Downloader) -> None:
    """From one path of a mirror to another."""
    with serving({**FILES, "/other": CONTENT}) as server:
        server.faults.append(Fault(location=f"{server.url}/other"))
        path = downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert path.read_bytes() == CONTENT
    assert [one.path for one in server.asked] == ["/model.onnx", "/other"]


def test_a_proxy_of_the_environment_is_used(downloader: Downloader, monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy hears of the whole address; a host that does not exist shows that nobody else is asked."""
    with serving({"http://models.invalid/model.onnx": CONTENT}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        fresh = Downloader(downloader._folder, plain_http=True, patience=QUICK)
        path = fresh.fetch(remote(), "http://models.invalid/model.onnx", nothing)
    assert path.read_bytes() == CONTENT


def test_a_full_disk_is_said(downloader: Downloader, tmp_path: Path) -> None:
    """The kernel's own full device in place of the part: ENOSPC for real."""
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{remote().sha256}.part").symlink_to("/dev/full")
    with serving(FILES) as server, pytest.raises(DownloadError, match=r"\.part: the disk is full"):
        downloader.fetch(remote(), f"{server.url}/model.onnx", nothing)
    assert len(server.asked) == 1


def test_a_disk_without_room_is_not_tried(downloader: Downloader, tmp_path: Path) -> None:
    """More than is free is refused before the server is asked."""
    size = shutil.disk_usage(tmp_path).free + (1 << 40)
    with serving(FILES) as server, pytest.raises(DownloadError, match=rf"needs {size} bytes more, \d+ are free"):
        downloader.fetch(remote(size=size), f"{server.url}/model.onnx", nothing)
    assert server.asked == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file where the folder should be: the path and the reason."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match=re.escape(f"{tmp_path}/file/downloads: Not a directory")):
        Downloader(tmp_path / "file/downloads").fetch(remote(), "https://example.org/", nothing)


def _both(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_two_at_once_fetch_it_once(tmp_path: Path) -> None:
    """The second waits for the first, and finds it done."""
    found: list[bytes] = []

    def work() -> None:
        one = Downloader(tmp_path, plain_http=True, patience=QUICK)
        found.append(one.fetch(remote(), f"{server.url}/model.onnx", nothing).read_bytes())

    with serving(FILES, always=Fault(piece=50_000, pause_s=0.02)) as server:
        _both(work)
    assert found == [CONTENT, CONTENT]
    assert server.sent == len(CONTENT)


def test_the_wait_for_another_ends(tmp_path: Path) -> None:
    """One that hangs does not hold up the other for ever."""
    failed: list[str] = []

    def work() -> None:
        patience = Patience(silence_s=1.0, failures=1, lock_s=0.3)
        try:
            Downloader(tmp_path, plain_http=True, patience=patience).fetch(
                remote(), f"{server.url}/model.onnx", nothing
            )
        except DownloadError as error:
            failed.append(str(error))

    with serving(FILES, always=Fault(piece=100, pause_s=3.0)) as server:
        _both(work)
    assert failed[0] == "model.onnx: another process has been fetching it for 0.3 s"


def test_the_reasons_for_a_full_disk_are_three() -> None:
    """A quota and a limit on file sizes are as full as a disk."""
    from edge_vision.models.catalog.download import _unwritable

    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert "the disk is full" in str(_unwritable(OSError(code, "x"), Path("p")))
