import signal
import sys
from pathlib import Path

import pytest

# A job in the background of a shell ignores Ctrl-C, and so would the commands that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# First, so that `models` is the module here: the root of the repository has a folder of that name. Last, so that an
# installed wheel is tested rather than the checkout.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))


def pytest_configure(config):
    config.addinivalue_line("markers", "integration: whole networks, minutes; needs bopkit and larq-compute-engine")


def pytest_generate_tests(metafunc):
    if "isa" in metafunc.fixturenames:
        import harness

        metafunc.parametrize("isa", harness.available_isas())


@pytest.fixture(scope="session")
def isas():
    """All instruction sets that this machine can run."""
    import harness

    return harness.available_isas()


@pytest.fixture(scope="session")
def delegate():
    """Makes delegates."""
    import harness

    return harness.load_delegate
