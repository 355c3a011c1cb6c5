"""Threads that share delegates, under the sanitizers of a system's compiler."""

import case_file
import native
import pytest
from sweep import CASES

NAMES = ("chain-large", "chain-residual", "chain-islands", "chain-packed", "chain-bmaxpool", "chain-head-integers")


@pytest.mark.parametrize("program", ["stress", "stress-leaks"])
def test_threads_share_delegates(program, tmp_path):
    """No race of the pool's or of two interpreters' threads, and nothing left when all are gone."""
    if native.compiler_for(program) is None:
        pytest.skip("needs a compiler with sanitizers: apt-get install g++, or clang and libclang-rt-14-dev")
    case_file.write(tmp_path / "cases", [case for case in CASES if case.name in NAMES])
    done = native.run([native.build(program), tmp_path / "cases", "12"])
    assert done.returncode == 0, done.stdout + done.stderr
