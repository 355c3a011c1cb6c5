import ctypes
import os
import sys
from pathlib import Path

import pytest

# First, so that `models` is the module here: the root of the repository has a folder of that name.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))

LIBRARY = os.environ.get("BOPKIT_RUNTIME_LIBRARY")
"""A library to test in place of the one that the package `bopkit_runtime` brings."""


def load_delegate(**options):
    """The runtime's delegate for LiteRT; options are those of the C header."""
    if LIBRARY is None:
        import bopkit_runtime

        return bopkit_runtime.load_delegate(**options)
    from ai_edge_litert.interpreter import load_delegate as load

    return load(LIBRARY, {name: str(value) for name, value in options.items()})


def available_isas():
    """Names of the instruction sets that the kernels can use on this machine."""
    if LIBRARY is None:
        import bopkit_runtime

        return list(bopkit_runtime.isas())
    library = ctypes.CDLL(LIBRARY)
    library.bopkit_runtime_isas.restype = ctypes.c_char_p
    return library.bopkit_runtime_isas().decode().split(",")


def pytest_generate_tests(metafunc):
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", available_isas())


def pytest_configure(config):
    config.addinivalue_line("markers", "integration: whole networks, minutes; needs bopkit and larq-compute-engine")


@pytest.fixture(scope="session")
def isas():
    """All of them."""
    return available_isas()


@pytest.fixture(scope="session")
def delegate():
    """Makes delegates."""
    return load_delegate
