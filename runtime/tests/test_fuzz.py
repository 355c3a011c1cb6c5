"""The fuzzer's corpus again: hostile files end in an error or in a result, never in a crash."""

import sys
from pathlib import Path

import native

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))

import run


def test_corpus_replays(tmp_path):
    """Under sanitizers where a compiler of the system has them, else as it is."""
    driver = native.build_checked("driver")
    files = run.unpack(tmp_path)
    done = native.run([driver, *files])
    assert done.returncode == 0, done.stderr[-5000:]
    assert f"{len(files)} cases" in done.stdout
    assert len(files) > 50
