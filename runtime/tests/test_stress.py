"""Threads that share delegates, under the sanitizers of a system's compiler."""

import case_file
import native
import pytest
from sweep import CASES

NAMES = ("chain-large", "chain-residual", "chain-islands", "chain-packed", "chain-bmaxpool", "chain-head-integers")


NEEDS_SANITIZERS = "needs a compiler with sanitizers: apt-get install g++, or clang and libclang-rt-14-dev"


@pytest.mark.parametrize("program", ["stress", "stress-leaks"])
def test_threads_share_delegates(program, tmp_path):
    """No race of the pool's or of two interpreters' threads, and nothing left when all are gone."""
    if native.compiler_for(program) is None:
        pytest.skip(NEEDS_SANITIZERS)
    case_file.write(tmp_path / "cases", [case for case in CASES if case.name in NAMES])
    done = native.run([native.build(program), tmp_path / "cases", "12"])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("threads", [1, 2, 24])
def test_a_pool_runs_each_unit_once_and_then_sleeps(threads):
    """Also of more threads than cores, whose workers are often without one."""
    if native.compiler_for("thread-pool") is None:
        pytest.skip(NEEDS_SANITIZERS)
    done = native.run([native.build("thread-pool"), threads, "40"])
    assert done.returncode == 0, done.stdout + done.stderr
