"""What a training step needs at least, and what to type where that is too much."""

import re
import types

import psutil
import pytest

from bopkit.errors import BopkitError
from bopkit.hparams import override
from bopkit.registry import MODELS
from bopkit.training.memory import check_memory
from bopkit.training.network import build_training_network


def small_network(precision="float32"):
    architecture = MODELS.load("binarynet")
    hparams = override(architecture.hparams("bop_digits"), {"filters": 4, "dense_units": 16})
    return build_training_network(architecture, hparams, (16, 16, 1), 10, precision=precision)


@pytest.fixture
def leave(monkeypatch):
    """Set what is available, in bytes."""
    return lambda size: monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=size))


def least(network, leave, *settings):
    """The fewest bytes with which a step passes."""
    low, high = 0, 10**9
    while high - low > 1:
        middle = (low + high) // 2
        leave(middle)
        try:
            check_memory(network, *settings)
            high = middle
        except BopkitError:
            low = middle
    return high


@pytest.mark.integration
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("replicas", "workers"), [(1, 1), (4, 1), (4, 2), (4, 4)])
def test_what_the_hint_says_fits(leave, accumulate, replicas, workers):
    network, batch_size = small_network(), 240
    leave(least(network, leave, batch_size, accumulate, replicas, workers) - 1)
    with pytest.raises(BopkitError, match=r"^A batch of 240 .*needs at least") as caught:
        check_memory(network, batch_size, accumulate, replicas, workers)
    advice = re.search(r"--accumulate (\d+), or --hparams batch_size=(\d+)\.", str(caught.value)).groups()
    more_parts, smaller = map(int, advice)
    assert more_parts > accumulate and batch_size % (more_parts * replicas) == 0
    assert 0 < smaller < batch_size and smaller % (accumulate * replicas) == 0
    check_memory(network, batch_size, more_parts, replicas, workers)
    check_memory(network, smaller, accumulate, replicas, workers)


@pytest.mark.integration
def test_bfloat16_halves_what_layers_leave_but_not_the_weights(leave):
    plain, mixed = (
        [least(small_network(precision), leave, size) for size in (100, 200)] for precision in ("float32", "bfloat16")
    )
    weights = 2 * plain[0] - plain[1]
    assert weights == 12 * small_network().count_params()
    assert 2 * mixed[0] - mixed[1] == weights
    assert 0.5 <= (mixed[0] - weights) / (plain[0] - weights) < 0.55  # the last layer stays float32


def test_weights_that_do_not_fit_are_not_blamed_on_the_batch(leave):
    network = small_network()
    leave(12 * network.count_params() - 1)
    with pytest.raises(BopkitError, match=r"^The network's weights.*Use a smaller network"):
        check_memory(network, 1)
    leave(2 * 12 * network.count_params() - 1)  # each replica has its own
    with pytest.raises(BopkitError, match=r"^The network's weights"):
        check_memory(network, 4, replicas=4, workers=2)


def test_a_picture_that_does_not_fit_gets_no_advice_that_cannot_help(leave):
    network = small_network()
    leave(12 * network.count_params() + 1)
    with pytest.raises(BopkitError, match=r"^A batch of 100 .*Use smaller pictures"):
        check_memory(network, 100)
