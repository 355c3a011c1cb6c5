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
