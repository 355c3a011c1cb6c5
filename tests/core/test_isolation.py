"""Whatever ends a child is one line, and the next call works again."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from bopkit import isolation
from bopkit.artifacts import hdf5_probe
from bopkit.errors import BopkitError, UsageError


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> isolation.Child:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with isolation.Child() as process:
        yield process


def test_a_child_answers_and_outlives_its_errors(process: isolation.Child) -> None:
    assert process.call("test_isolation:double", [1, "ä"], subject="x") == [1, "ä", 1, "ä"]
    with pytest.raises(UsageError, match="mistyped") as error:
        process.call("test_isolation:fail", subject="x")
    assert "in fail\n" in error.value.__notes__[0]  # for --debug
    assert process.call("test_isolation:double", [2], subject="x") == [2, 2]
    assert process.starts == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("die", "x was ended by SIGSEGV"),
        ("leave", "x ended with code 3"),
        ("leave_late", "x ended with code 3"),
        ("leave_with_a_crash_behind", "x ended with code 143"),
        ("be_interrupted", "x was ended by SIGINT"),
        ("leave_another", "x needed more than 2 s"),
        ("wait", "x needed more than 2 s"),
    ],
)
def test_the_end_of_a_child_is_one_line(function: str, says: str, process: isolation.Child) -> None:
    with pytest.raises(BopkitError, match=says) as error:
        process.call(f"test_isolation:{function}", subject="x", timeout_s=2 if "more than" in says else None)
    assert error.value.hint and "\n" not in str(error.value)
    assert process.call("test_isolation:double", [1], subject="x") == [1, 1]
    assert process.starts == 2


def test_ctrl_c_ends_the_child_before_it_is_passed_on(process: isolation.Child) -> None:
    child = process._started()
    stop = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    stop.start()
    with pytest.raises(KeyboardInterrupt):
        process.call("test_isolation:wait", subject="x")
    assert child.returncode == -signal.SIGKILL


def test_an_interruption_that_a_callback_swallows_ends_the_call(process: isolation.Child) -> None:
    """As SQLAlchemy does in what it runs when an object is gone: Python drops exceptions there."""

    def interrupt_and_swallow(line: str) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)  # the handler runs before the next instruction

    with pytest.raises(KeyboardInterrupt):
        process.call("test_isolation:say", subject="x", progress=interrupt_and_swallow)


def test_a_child_has_variables_of_its_own_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = {"PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(tmp_path / "of_child")}
    name = "The process that converted {subject}"
    with isolation.Child(isolation.cpu_environment() | environment, name, "Take more memory.") as process:
        assert process.call("test_isolation:variable", "TMPDIR", subject="x") == environment["TMPDIR"]
        assert not list(tmp_path.iterdir())  # nor would it if it were killed
        with pytest.raises(BopkitError, match=r"that converted x was ended by SIGSEGV\. Take more memory\."):
            process.call("test_isolation:die", subject="x")
    assert not list(tmp_path.iterdir())


def test_a_file_that_libhdf5_dies_of_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["data"] = [1, 2, 3]
    hdf5_probe.probe(path)
    (tmp_path / "h5py.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with isolation.Child() as process:
        monkeypatch.setattr(hdf5_probe, "_child", lambda: process)
        hdf5_probe._probe_once.cache_clear()
        with pytest.raises(BopkitError, match="file.h5 was ended by SIGABRT"):
            hdf5_probe.probe(path)


def double(values: list[object]) -> list[object]:
    print("a library prints")
    return values * 2


def fail() -> None:
    raise UsageError("mistyped", "type it again")


def variable(name: str) -> str:
    return os.environ[name]


def say(progress: Callable[[str], None]) -> None:
    progress("hello")
    wait()


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    os._exit(3)


def leave_with_a_crash_behind() -> None:
    """As a library that crashes in its clean-up."""
    atexit.register(os.abort)
    sys.exit(128 + signal.SIGTERM)


def be_interrupted() -> None:
    atexit.register(os.abort)
    raise KeyboardInterrupt


def leave_late() -> None:
    os.closerange(1, 20)  # the pipe ends before the process does
    time.sleep(0.2)
    os._exit(3)


def leave_another() -> None:
    os.fork()
    wait()


def wait() -> None:
    time.sleep(60)
