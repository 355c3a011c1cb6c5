"""A file arrives whole and with its checksum, or not at all; what went wrong is one line that says what to do."""

import errno
import hashlib
import http.client
import resource
import signal
import ssl
import urllib.error
import urllib.request

import numpy as np
import pytest
from release_server import ReleaseServer

from bopkit.errors import BopkitError, UsageError
from bopkit.failures import translate
from bopkit.pretrained import download as downloading
from bopkit.pretrained.download import check_mirror, download
from bopkit.progress import silent

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HINT = "Put it there by hand."
NO_ADDRESSES = ("https://[::1", "http://host/ü", "http://host:port", "http://exa mple.com", "http://:80")


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloading, "PAUSE_S", 0.0)
    with ReleaseServer({"/v1/net.h5": CONTENT, "/elsewhere": CONTENT}) as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "net.h5"


def fetch(server, target, progress=silent, sha256=SHA256):
    download(f"{server.address}/v1/net.h5", target, sha256, HINT, progress)


def refused(server, target, **options):
    """The error of a download that fails and leaves no file, only perhaps its beginning."""
    with pytest.raises(BopkitError) as error:
        fetch(server, target, **options)
    assert not target.exists()
    assert "\n" not in str(error.value)
    return error.value


def names(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_arrives(server, target):
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["net.h5"]
    assert server.ranges == [None]


@pytest.mark.parametrize("how", ["cut 100000", "stall 100000"])
def test_a_broken_connection_goes_on_where_it_broke(how, server, target, monkeypatch):
    monkeypatch.setattr(downloading, "TIMEOUT_S", 0.3)
    server.plan, lines = [how, how], []
    fetch(server, target, lines.append)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert lines[0].endswith(": try 2 of 5 in 0 s")
    assert lines[1] == "Resuming at 100.00 kB of 300.00 kB"


def test_a_later_call_resumes(server, target):
    server.plan = ["cut 1000"] * downloading.TRIES
    error = refused(server, target)
    assert "the connection broke after 5.00 kB of 300.00 kB, 5 times. 5.00 kB are kept" in error.message
    assert error.hint == HINT
    assert names(target) == ["net.h5.part"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=5000-"


def test_a_server_that_ignores_range_starts_over(server, target):
    server.plan = ["cut 1000", "whole"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-"]


def test_what_is_whole_already_is_not_sent_again(server, target):
    target.parent.mkdir()
    target.with_name("net.h5.part").write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=300000-"]


@pytest.mark.parametrize("left", [b"of another time", CONTENT + b"more"])
def test_the_beginning_of_another_file_is_told_and_dropped(left, server, target):
    target.parent.mkdir()
    target.with_name("net.h5.part").write_bytes(left)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges[-1] is None


def test_a_wrong_checksum_leaves_nothing(server, target):
    error = refused(server, target, sha256="0" * 64)
    assert f"is not the file that was released, and was removed: its SHA-256 is {SHA256}, not 0000" in error.message
    assert names(target) == []


@pytest.mark.parametrize("status, said", [(404, "HTTP 404 Not Found"), (403, "HTTP 403 Forbidden")])
def test_no_such_file(status, said, server, target):
    server.plan = [status]
    error = refused(server, target)
    assert error.message == f"{server.address}/v1/net.h5 cannot be downloaded: {said}."
    assert error.hint == HINT
    assert len(server.ranges) == 1


def test_a_busy_server_is_asked_again(server, target):
    server.plan = [503, 429]
    fetch(server, target)
    assert len(server.ranges) == 3


def test_a_redirection_is_followed(server, target):
    server.plan = ["to /elsewhere"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_no_redirection_leaves_https():
    handler = downloading._HttpsStays()
    asked = urllib.request.Request("https://example.com/a")
    assert (
        handler.redirect_request(asked, None, 302, "", {}, "https://example.org/b").full_url == "https://example.org/b"
    )
    with pytest.raises(urllib.error.URLError, match="not https"):
        handler.redirect_request(asked, None, 302, "", {}, "http://example.com/a")


def test_no_server_is_told_at_once(server, target):
    server.__exit__()
    error = refused(server, target)
    assert error.message == f"{server.address}/v1/net.h5 cannot be reached: Connection refused."
    assert error.hint == HINT


def test_no_such_host(target, server):
    server.address = "http://no-such-host.invalid"
    assert "net.h5 cannot be reached: " in refused(server, target).message


@pytest.mark.parametrize(("plan", "size"), [("says 3000000000", "3.00 GB"), ("unsized", "more than 1.00 kB")])
def test_absurd_sizes_are_refused(plan, size, server, target, monkeypatch):
    if plan == "unsized":
        monkeypatch.setattr(downloading, "MAX_BYTES", 1000)
    server.plan = [plan]
    said = refused(server, target).message
    assert said.endswith(f"net.h5 is refused: it has {size}, and no such file has that much.")
    assert names(target) == []


@pytest.mark.parametrize("broken", [ssl.SSLError("bad record"), OSError(errno.EHOSTUNREACH, "No route to host")])
def test_whatever_breaks_while_reading_is_tried_again(broken, server, target, monkeypatch):
    read, left, lines = http.client.HTTPResponse.read1, [broken], []

    def breaking(response, count=-1):
        if left:
            raise left.pop()
        return read(response, count)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", breaking)
    fetch(server, target, lines.append)
    assert target.read_bytes() == CONTENT
    assert lines[0].startswith("The connection broke (") and lines[0].endswith("): try 2 of 5 in 0 s")


def test_a_part_that_is_overwritten_makes_room(server, target, monkeypatch):
    target.parent.mkdir()
    target.with_name("net.h5.part").write_bytes(CONTENT[:299_000])
    usage = downloading.shutil.disk_usage("/")
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    server.plan = ["whole"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_disk_without_room_is_told_before(server, target, monkeypatch):
    usage = downloading.shutil.disk_usage("/")
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    error = refused(server, target)
    assert error.message.endswith(f"takes 300.00 kB, and {target.parent} has 1.00 kB free.")
    assert names(target) == []


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(server, target):
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(OSError) as error:
            fetch(server, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert str(translate(error.value)).startswith(f"The disk is full while writing {target}.")
    assert names(target) == []


def test_progress_says_how_long_it_takes_and_ctrl_c_keeps_what_is_there(server, target, monkeypatch):
    monkeypatch.setattr(downloading, "PROGRESS_EVERY_S", 0.0)
    lines = []

    def say(line):
        lines.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, target, say)
    assert names(target) == ["net.h5.part"]
    assert " of 300.00 kB, " in lines[0] and "/s, " in lines[0] and lines[0].endswith(" left")
    have = target.with_name("net.h5.part").stat().st_size
    assert have > 0
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={have}-"


def test_a_folder_can_be_the_mirror(tmp_path, target, server):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "net.h5").write_bytes(CONTENT)
    server.address = tmp_path.as_uri()
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    target.unlink()
    (tmp_path / "v1" / "net.h5").unlink()
    assert "cannot be reached: " in refused(server, target).message


@pytest.mark.parametrize(
    "mirror", ["", "files.example.com", "ftp://example.com", "https://", "/srv/larq", *NO_ADDRESSES]
)
def test_what_is_no_mirror(mirror):
    with pytest.raises(UsageError, match="is no address of a mirror"):
        check_mirror(mirror)


def test_what_is_a_mirror():
    for mirror in ("https://files.example.com/larq", "http://10.0.0.1:8000", "http://[::1]:8000", "file:///srv/larq ü"):
        check_mirror(mirror)
