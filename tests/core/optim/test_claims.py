"""Every trainable variable is claimed once, and the network's kernels flip as under larq's Bop, bit for bit."""

import numpy as np
import pytest

from bopkit.errors import BopkitError
from bopkit.hparams import override
from bopkit.keras2 import import_tensorflow
from bopkit.optim import Bop, Claim, binary_layers, make_optimizer
from bopkit.optim.schedules import whole_run_schedules
from bopkit.registry import MODELS
from bopkit.schedules import SCHEDULED
from bopkit.training.opening_lines import _claim_lines


@pytest.fixture
def network_and_hparams():
    architecture = MODELS.load("binarynet")
    hparams = override(architecture.hparams("bop_digits"), {"filters": 4, "dense_units": 16})
    return architecture.build_network(hparams, (16, 16, 1), 10), hparams


@pytest.mark.parametrize("optimizer", ["Bop", "Bop2nd", "CEMA", "Bold"])
def test_each_variable_is_claimed_once(network_and_hparams, optimizer):
    network, hparams = network_and_hparams
    hparams = override(hparams, {"optimizer": optimizer.lower()})
    _, claims = make_optimizer(network, hparams, steps_per_epoch=3)
    assert [claim.variable for claim in claims] == [variable.name for variable in network.trainable_variables]
    assert {claim.variable for claim in claims if claim.optimizer == optimizer} == {
        layer.kernel.name for layer in binary_layers(network)
    }
    assert {claim.optimizer for claim in claims} == {optimizer, "Adam"}


@pytest.mark.parametrize("optimizer", ["bop", "bop2nd", "cema", "bold", "latent"])
def test_the_schedules_of_a_run_are_those_that_its_optimizers_follow(network_and_hparams, optimizer):
    network, hparams = network_and_hparams
    ends = {f"{name}_end": 1e-4 for name in SCHEDULED}
    hparams = override(hparams, {"optimizer": optimizer, **ends})
    both, _ = make_optimizer(network, hparams, steps_per_epoch=3)
    decay = import_tensorflow().keras.optimizers.schedules.PolynomialDecay
    followed = {
        name
        for inner in getattr(both, "optimizers", [both])
        for name in SCHEDULED
        if isinstance(inner._hyper.get(name), decay)
    }
    assert set(whole_run_schedules(hparams)) == followed


def test_at_zero_reaches_the_optimizer(network_and_hparams):
    network, hparams = network_and_hparams
    for value in ("keep", "original"):
        for optimizer in ("bop", "bop2nd"):
            changed = override(hparams, {"optimizer": optimizer, "at_zero": value})
            assert make_optimizer(network, changed, 1)[0].optimizers[0].at_zero == value


@pytest.mark.integration
def test_twenty_steps_of_the_network_equal_larq(network_and_hparams):
    tf = import_tensorflow()
    import larq as lq

    network, hparams = network_and_hparams
    optimizer, _ = make_optimizer(network, hparams, steps_per_epoch=1)
    kernels = [layer.kernel for layer in binary_layers(network)]
    copies = [tf.Variable(kernel.numpy()) for kernel in kernels]
    gamma = tf.keras.optimizers.schedules.PolynomialDecay(hparams.gamma, hparams.epochs, hparams.gamma_end)
    reference = lq.optimizers.Bop(threshold=hparams.threshold, gamma=gamma)
    rng = np.random.default_rng(0)
    start = [kernel.numpy() for kernel in kernels]
    for _ in range(20):
        gradients = {
            variable.ref(): tf.constant(rng.normal(0, 0.01, variable.shape), tf.float32)
            for variable in network.trainable_variables
        }
        optimizer.apply_gradients([(gradients[v.ref()], v) for v in network.trainable_variables])
        reference.apply_gradients([(gradients[k.ref()], c) for k, c in zip(kernels, copies, strict=True)])
    for kernel, copy, before in zip(kernels, copies, start, strict=True):
        np.testing.assert_array_equal(kernel.numpy(), copy.numpy())
        assert set(np.unique(kernel.numpy())) <= {-1.0, 1.0}
        assert np.any(kernel.numpy() != before)


def test_staircase_of_gamma():
    architecture = MODELS.load("binarynet")
    hparams = override(architecture.hparams("bop_sec52"), {"filters": 4, "dense_units": 16})
    network = architecture.build_network(hparams, (16, 16, 1), 10)
    optimizer, _ = make_optimizer(network, hparams, steps_per_epoch=7)
    bop = next(each for each in optimizer.optimizers if isinstance(each, Bop))
    gamma = bop._hyper["gamma"]
    steps = 100 * 7
    assert [float(gamma(step)) for step in (0, steps - 1, steps, 2 * steps)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-6])


def test_latent_weights_are_all_adams():
    architecture = MODELS.load("binarynet")
    hparams = override(architecture.hparams("default"), {"filters": 4, "dense_units": 16})
    network = architecture.build_network(hparams, (16, 16, 1), 10)
    _, claims = make_optimizer(network, hparams, steps_per_epoch=3)
    assert {claim.optimizer for claim in claims} == {"Adam"}
    kernel = next(binary_layers(network)).kernel
    assert len(np.unique(kernel.latent_variable.numpy())) > 2


def test_a_network_without_binary_kernels_is_refused():
    tf = import_tensorflow()
    network = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    with pytest.raises(BopkitError, match="No kernel"):
        make_optimizer(network, MODELS.load("binarynet").hparams(), 1)


def test_claims_are_counted_and_with_verbose_each_is_named():
    claims = [
        Claim("a/kernel:0", (3, 3, 4, 8), "Bop"),
        Claim("b/beta:0", (8,), "Adam"),
        Claim("c/beta:0", (2,), "Adam"),
    ]
    counted = "Bop trains 1 variable (288 weights), Adam trains 2 variables (10 weights); --verbose names them"
    assert _claim_lines(claims, verbose=False) == [counted]
    assert _claim_lines(claims[1:] + claims[:1], verbose=False) == [counted]
    assert _claim_lines(claims[:2], verbose=True) == ["  Bop     a/kernel:0  [3, 3, 4, 8]", "  Adam    b/beta:0  [8]"]
