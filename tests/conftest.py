import gc
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).parent / "support"))  # importlib mode adds nothing itself

import forks
import pytest
import standins

# A job in the background of a shell ignores Ctrl-C, and so would all commands that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

gc.set_threshold(50_000, 20, 20)  # tracing makes objects by the million: Python's own thresholds cost a tenth


def pytest_configure(config):
    """One server of forks for all workers of xdist: they inherit the variable that names it."""
    if not hasattr(config, "workerinput"):
        config.stash[FORKS] = forks.start_server()


def pytest_unconfigure(config):
    if FORKS in config.stash:
        config.stash[FORKS].communicate()


FORKS = pytest.StashKey()


def pytest_collection_modifyitems(items):
    """The long files first: `make test` gives a process one file after the other, in this order."""
    items.sort(key=lambda item: "integration" not in item.path.parts)


@pytest.fixture
def forked_children(monkeypatch):
    """Let bopkit's own processes be forks of one that has imported TensorFlow: a new one is not the point."""
    forks.fork_children(monkeypatch.setattr)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """CIFAR-10 and ImageNet stand-ins, prepared by TFDS's own builders without a network."""
    folder = tmp_path_factory.mktemp("tfds")
    standins.prepare_cifar10(folder, train=300, test=60)
    standins.prepare_imagenet2012(folder, classes=4, train_per_class=12, validation=16)
    return folder
