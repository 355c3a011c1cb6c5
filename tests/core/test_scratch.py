"""Scratch folders: what a killed process left is removed, and nothing that a living one may use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bopkit import files, scratch
from bopkit.isolation import Child

pytest.importorskip("fcntl")

_HOLD = """
import sys, time
from pathlib import Path
from bopkit import files
with files.scratch_directory(Path(sys.argv[1])) as folder:
    (folder / "network").mkdir()
    (folder / "network" / "weights").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(600)
"""


def start_owner(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that works in a scratch folder, and that folder."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def left_over(parent: Path, name: str = ".bopkit-left") -> Path:
    """A scratch folder as a process that is dead left it."""
    with scratch.scratch_folder(parent, ".bopkit-") as folder:
        folder.rename(parent / name)
    (parent / name / "weights").write_bytes(bytes(10))
    return parent / name


def test_the_next_one_removes_what_a_killed_one_left_and_no_other(tmp_path: Path) -> None:
    dead, folder_of_dead = start_owner(tmp_path)
    alive, folder_of_living = start_owner(tmp_path)
    kill(dead)
    stranger, own = tmp_path / "bopkit-models", tmp_path / ".bopkit-device"
    stranger.mkdir()
    own.mkdir()
    (own / ".lock").touch()  # of what `bopkit device setup` puts into a home
    try:
        assert folder_of_dead.is_dir()
        scratch.remove_left_over(tmp_path)
        assert {each.name for each in tmp_path.iterdir()} == {folder_of_living.name, stranger.name, own.name}
        assert (folder_of_living / "network" / "weights").stat().st_size == 1000
    finally:
        kill(alive)
    scratch.remove_left_over(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {stranger.name, own.name}


def test_who_writes_into_a_folder_looks_for_what_is_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = left_over(tmp_path)
    monkeypatch.setattr(scratch, "_looked_into", set())  # as of a process that has just started
    files.write_json(tmp_path / "a.json", {})
    assert not left.exists()
    with scratch.scratch_folder(tmp_path) as folder:
        scratch.remove_left_over(tmp_path)
        assert folder.is_dir()
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("kernel", "machine", "file_system", "is_removed"),
    [
        ("this", "m host", "nfs4", True),  # seen by one system: locks count, whatever the disk
        ("before", "m host", "ext4", True),  # a restart ended all processes
        ("before", "m host", "nfs4", False),  # a clone of this machine may still run
        ("before", "m other", "ext4", False),  # another host, to which this one serves its disk
        ("before", "", "ext4", False),
    ],
)
def test_what_another_host_may_use_stays(
    kernel: str, machine: str, file_system: str, is_removed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_this_host", lambda: (kernel, machine))
    left = left_over(tmp_path)
    monkeypatch.setattr(scratch, "_this_host", lambda: ("this", "m host" if machine else ""))
    monkeypatch.setattr(scratch, "_file_system", lambda folder: file_system)
    scratch.remove_left_over(tmp_path)
    assert left.exists() is not is_removed


def test_without_a_lock_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError("no locks on this file system")

    with monkeypatch.context() as patch:
        patch.setattr(scratch.fcntl, "flock", refuse)
        left = left_over(tmp_path)
    assert [each.name for each in left.iterdir()] == ["weights"]
    scratch.remove_left_over(tmp_path)
    assert left.is_dir()


def test_the_folder_that_a_link_names_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    left = left_over(tmp_path / "elsewhere")
    (tmp_path / ".bopkit-link").symlink_to(left)
    scratch.remove_left_over(tmp_path)
    assert (left / "weights").is_file()


def test_what_libraries_leave_in_a_child_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Child() as process:
        path = Path(process.call("tempfile:gettempdir", subject="nothing"))
        assert path.parent == tmp_path and path.is_dir()
        (path / "__autograph_generated_file1.py").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_command_has_a_temporary_folder_of_its_own(tmp_path: Path) -> None:
    code = "import tempfile, time; from bopkit.scratch import use_own_temporary_folder as use; use(); "
    code += "tempfile.NamedTemporaryFile(delete=False); print(tempfile.gettempdir(), flush=True); "
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []
    with subprocess.Popen(
        [sys.executable, "-c", code + "time.sleep(600)"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    assert folder.parent == tmp_path and len(list(folder.iterdir())) > 1
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []
