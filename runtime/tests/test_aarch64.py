"""The sweep of operators on emulated 64-bit ARM processors: the library is compiled for them and runs in the host."""

import shutil

import case_file
import native
import pytest
from sweep import CASES

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-aarch64: apt-get install qemu-user"),
]

# What `auto` must choose: the two of 2012 and 2016 have no dot product, the last one has products of matrices too.
AUTO = {
    "cortex-a53": "neon",
    "cortex-a72": "neon",
    "cortex-a76": "neon_dot",
    "neoverse-n1": "neon_dot",
    "max": "neon_i8mm",
}


@pytest.fixture(scope="session")
def host():
    return native.build("host-aarch64")


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    path = tmp_path_factory.mktemp("aarch64") / "cases"
    case_file.write(path, CASES)
    return path


def _run(host, cases, cpu, *options):
    return native.run(["qemu-aarch64", "-cpu", cpu, host, *options, cases])


@pytest.mark.parametrize("cpu", AUTO)
def test_sweep_with_the_instruction_set_of_the_processor(cpu, host, cases):
    done = _run(host, cases, cpu)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CASES)} cases, " in done.stdout and f"isa {AUTO[cpu]} of {AUTO[cpu]}," in done.stdout


@pytest.mark.parametrize("forced", ["portable", "neon", "neon_dot", "neon_i8mm"])
def test_sweep_with_each_instruction_set(forced, host, cases):
    done = _run(host, cases, "max", "--isa", forced, "--threads", "2", "--repeat", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f" 0 wrong, isa {forced} of " in done.stdout


def test_missing_instructions_are_an_error(host, cases):
    done = _run(host, cases, "cortex-a72", "--isa", "neon_dot")
    assert done.returncode == 2 and "no instruction set 'neon_dot' on this machine: it has neon,portable" in done.stderr
