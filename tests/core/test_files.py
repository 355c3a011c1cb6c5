import os

import pytest

from bopkit import files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "config.json"
    files.write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert target.read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "page.html", tmp_path / "newest.html"
    link.symlink_to(target.name)
    for text in (b"1", b"2"):
        files.write_bytes(link, text)
        assert link.is_symlink() and target.read_bytes() == text and not target.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_to_what_is_not_there_yet(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "newest.html"
    link.symlink_to("elsewhere/page.html")
    files.write_bytes(link, b"1")
    assert link.is_symlink() and (tmp_path / "elsewhere" / "page.html").read_bytes() == b"1"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_bytes(pipe, b"123")
        assert os.read(reader, 10) == b"123" and pipe.is_fifo()
    finally:
        os.close(reader)


def test_only_what_is_open_for_writing_is_synced(tmp_path, monkeypatch):
    """On Windows a file that was opened to read cannot be synced."""
    fcntl = pytest.importorskip("fcntl")
    modes = []
    monkeypatch.setattr(os, "fsync", lambda file: modes.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE))
    files.write_bytes(tmp_path / "data", b"123")
    assert modes == [os.O_RDWR] and (tmp_path / "data").read_bytes() == b"123"


def test_sizes(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "folder" / "b").write_bytes(b"123")
    assert files.size_bytes(tmp_path / "a") == 5
    assert files.size_bytes(tmp_path) == 8
