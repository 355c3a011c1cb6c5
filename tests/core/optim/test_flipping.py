"""Every optimizer that flips: against NumPy, over a checkpoint, compiled, in bfloat16, and on two devices."""

import textwrap

import numpy as np
import pytest
from forks import run_python

from bopkit.hparams import override
from bopkit.keras2 import import_tensorflow
from bopkit.optim import (
    CEMA,
    Bold,
    Bop,
    Bop2nd,
    binary_kernel,
    binary_layers,
    hyper_values,
    make_optimizer,
    set_binary_kernels_to_signs,
)
from bopkit.registry import MODELS

EPOCHS = 4
SETS = {
    "bop": ("bop_digits", {}),
    "bop2nd": ("bop2nd_digits", {}),
    "bop2nd unbiased": ("bop2nd_digits", {"moments": "unbiased", "sigma_end": 0.1, "threshold_end": 1e-7}),
    "cema": ("cema_digits", {}),
    "bold": ("bold_digits", {}),
    "latent": ("latent_digits", {}),
}


def network_and_optimizer(which, steps_per_epoch=10):
    """A small network, the same whenever it is made, with the optimizer of a set."""
    tf = import_tensorflow()
    import larq as lq

    tf.keras.utils.set_random_seed(1)
    name, changes = SETS[which]
    hparams = override(MODELS.load("binarynet").hparams(name), {"epochs": EPOCHS, **changes})
    kernel = binary_kernel(hparams.optimizer)
    network = tf.keras.Sequential(
        [
            lq.layers.QuantConv2D(8, 3, use_bias=False, input_shape=(6, 6, 1), **kernel),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.Flatten(),
            lq.layers.QuantDense(10, input_quantizer="ste_sign", use_bias=False, **kernel),
        ]
    )
    set_binary_kernels_to_signs(network)
    return network, make_optimizer(network, hparams, steps_per_epoch)[0]


def slots_of(network, optimizer):
    """The moving averages of each trainable variable, in order."""
    from tf_keras.src.optimizers.legacy import optimizer_v2

    slots = []
    for variable in network.trainable_variables:
        for inner in getattr(optimizer, "optimizers", [optimizer]):
            names = inner._slots.get(optimizer_v2._var_key(variable), {})
            slots += [names[name].numpy() for name in sorted(names)]
    assert slots
    return slots


def gradients_of(network, step):
    """Random gradients, the same for the same step."""
    rng = np.random.default_rng(step)
    return [rng.normal(0, 0.01, variable.shape).astype(np.float32) for variable in network.trainable_variables]


def step(network, optimizer, number):
    tf = import_tensorflow()
    gradients = [tf.constant(each) for each in gradients_of(network, number)]
    optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))


def assert_equal(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def run(optimizer, weights, steps):
    """The kernel after each step."""
    tf = import_tensorflow()
    kernel = tf.Variable(np.float32(weights))
    kernels = []
    for gradients in steps:
        optimizer.apply_gradients([(tf.constant(np.float32(gradients)), kernel)])
        kernels.append(kernel.numpy())
    return np.array(kernels)


def flipped(weights, signal, threshold=0.0):
    """Flip where w s > tau; at exactly tau > 0 a weight of -1 flips and one of +1 does not."""
    product = weights * signal
    flips = (product > threshold) | ((product == threshold) & (weights < 0) & (threshold > 0))
    return np.where(flips, -weights, weights)


def numpy_bop2nd(weights, steps, threshold, gamma, sigma, unbiased=False):
    """arXiv 2104.05124; the rates are functions of the step, from 0."""
    m = v = np.zeros_like(weights)
    m_missing = v_missing = 1.0
    for number, gradients in enumerate(steps):
        m = m + gamma(number) * (gradients - m)
        v = v + sigma(number) * (gradients * gradients - v)
        m_missing *= 1 - float(gamma(number))
        v_missing *= 1 - float(sigma(number))
        corrections = np.float32([1 - m_missing, 1 - v_missing]) if unbiased else np.float32([1, 1])
        signal = (m / corrections[0]) / (np.sqrt(v / corrections[1]) + np.float32(1e-10))
        weights = flipped(weights, signal, threshold(number))
        yield weights


def numpy_cema(weights, steps, gamma, alpha):
    """arXiv 2303.02452; the rates are functions of the step, from 0."""
    m = a = np.zeros_like(weights)
    for number, gradients in enumerate(steps):
        m = (1 - gamma(number)) * m + gamma(number) * gradients
        a = (1 - alpha(number)) * a + alpha(number) * m
        weights = flipped(weights, a)
        yield weights


def numpy_bold(weights, steps, eta):
    """arXiv 2405.16339: accumulate, flip at 1 where the signs agree, start over there; eta is a function of the step.

    In float32; the share of the weights that did not flip is of the step before.
    """
    m, share = np.zeros_like(weights), np.float32(1)
    for number, gradients in enumerate(steps):
        m = share * m + np.float32(eta(number)) * gradients
        flips = (np.sign(m) == weights) & (np.abs(m) >= 1)
        weights = np.where(flips, -weights, weights)
        m = np.where(flips, np.float32(0), m)
        share = np.float32(1) - np.float32(np.count_nonzero(flips)) / np.float32(flips.size)
        yield weights, m, share


def schedule(start, end):
    """A linear Keras schedule over 15 steps, and the same for NumPy."""
    tf = import_tensorflow()
    decay = tf.keras.optimizers.schedules.PolynomialDecay(start, 15, end)
    return decay, lambda number: decay(number).numpy()


@pytest.fixture
def weights_and_steps():
    """Twenty gradients; a third of the weights never get one other than 0."""
    rng = np.random.default_rng(0)
    weights = np.where(rng.random(1000) < 0.5, -1, 1).astype(np.float32)
    steps = rng.normal(0, 1e-3, size=(20, 1000)).astype(np.float32)
    steps[:, ::3] = 0
    return weights, steps


@pytest.mark.parametrize("moments", ["biased", "unbiased"])
def test_twenty_steps_of_bop2nd(weights_and_steps, moments):
    weights, steps = weights_and_steps
    threshold, gamma, sigma = schedule(0.5, 0.1), schedule(0.5, 0.05), schedule(1e-2, 0.5)
    expected = np.array(
        list(numpy_bop2nd(weights, steps, threshold[1], gamma[1], sigma[1], unbiased=moments == "unbiased"))
    )
    assert np.count_nonzero(expected[1:] != expected[:-1]) > 500
    actual = run(Bop2nd(threshold[0], gamma[0], sigma[0], moments), weights, steps)
    np.testing.assert_array_equal(actual, expected)


def test_twenty_steps_of_cema(weights_and_steps):
    weights, steps = weights_and_steps
    gamma, alpha = schedule(0.5, 0.25), schedule(0.5, 0.05)
    expected = np.array(list(numpy_cema(weights, steps, gamma[1], alpha[1])))
    assert np.count_nonzero(expected[1:] != expected[:-1]) > 500
    np.testing.assert_array_equal(run(CEMA(gamma[0], alpha[0]), weights, steps), expected)


def test_twenty_steps_of_bold(weights_and_steps):
    tf = import_tensorflow()
    weights, steps = weights_and_steps
    eta = schedule(800.0, 200.0)
    optimizer, kernel = Bold(eta[0]), tf.Variable(weights)
    shares, flips = [], 0
    for gradients, expected in zip(steps, numpy_bold(weights, steps, eta[1]), strict=True):
        before = kernel.numpy()
        optimizer.apply_gradients([(tf.constant(gradients), kernel)])
        found = (kernel, optimizer.get_slot(kernel, "m"), optimizer.get_slot(kernel, "kept"))
        assert_equal([each.numpy() for each in found], expected)
        shares.append(float(expected[2]))
        flips += np.count_nonzero(before != expected[0])
    assert flips > 500 and len(set(shares)) > 10


def test_boundaries_of_bold():
    """At exactly 1 a weight flips, whichever it is, and the next gradient is counted from 0 there and nowhere else."""
    weights = [1, -1, 1, -1, 1, -1, 1, -1]
    below = np.nextafter(np.float32(1), np.float32(0))
    first = [1, -1, below, -below, -5, 5, 0, 0]
    kept = run(Bold(1.0), weights, [first])
    np.testing.assert_array_equal(kept[-1], [-1, 1, 1, -1, 1, -1, 1, -1])
    # 2 of 8 flipped: of the others 3/4 is left. Third: 0.75 + 0.25 flips; fourth: -0.75 - 0.2 does not.
    second = [-1, 1, 0.25 + 1e-6, -0.2, 10, -10, 0.5, -0.5]
    np.testing.assert_array_equal(run(Bold(1.0), weights, [first, second])[-1], [1, -1, -1, -1, -1, 1, 1, -1])


@pytest.mark.parametrize("moments", ["biased", "unbiased"])
@pytest.mark.parametrize(
    ("threshold", "gradients", "expected"),
    [
        (1.0, [-1, 1], [1, 1]),  # s is exactly tau: only -1 flips
        (1.0, [-1.001, 1.001], [1, 1]),  # s is a ratio: the size of the gradient does not matter
        (0.999, [-1, 1], [1, -1]),
        (1e-16, [-1e-25, 1e-25], [1, -1]),  # g^2 is 0 in float32, so v is: s = m / 1e-10
        (0.0, [0, 0], [-1, 1]),  # m and v are 0
    ],
)
def test_boundaries_of_bop2nd(moments, threshold, gradients, expected):
    # After one step: m = g / 2, v = g^2 / 4; unbiased m = g, v = g^2. Either way s = 1 with the sign of g.
    optimizer = Bop2nd(threshold, gamma=0.5, sigma=0.25, moments=moments)
    np.testing.assert_array_equal(run(optimizer, [-1, 1], [gradients])[-1], expected)


def test_at_zero_the_original_flips_minus_one():
    for optimizer in (Bop(0.0, 0.5, "original"), Bop2nd(0.0, 0.5, 0.5, at_zero="original")):
        np.testing.assert_array_equal(run(optimizer, [-1, 1], [[0, 0]])[-1], [1, 1])


def test_cema_flips_at_the_slightest_agreement_and_stays_at_zero():
    gradients = [-1e-30, 1e-30, 1e-30, -1e-30, 0, 0]
    kernel = run(CEMA(0.5, 0.5), [-1, 1, -1, 1, -1, 1], [gradients])[-1]
    np.testing.assert_array_equal(kernel, [1, -1, -1, 1, -1, 1])


@pytest.mark.integration
@pytest.mark.parametrize("which", SETS)
def test_a_restored_optimizer_goes_on_bit_for_bit(tmp_path, which):
    tf = import_tensorflow()
    whole, optimizer = network_and_optimizer(which)
    for number in range(4):
        step(whole, optimizer, number)
    path = tf.train.Checkpoint(network=whole, optimizer=optimizer).save(str(tmp_path / "state"))
    resumed, fresh = network_and_optimizer(which)
    # Before the first step there are no slots: what is restored waits for them.
    restored = tf.train.Checkpoint(network=resumed, optimizer=fresh).restore(path)
    start = [kernel.numpy() for kernel in resumed.trainable_variables]
    for number in range(4, 8):
        step(whole, optimizer, number)
        step(resumed, fresh, number)
    restored.assert_consumed()
    assert_equal(resumed.get_weights(), whole.get_weights())
    assert_equal(slots_of(resumed, fresh), slots_of(whole, optimizer))
    assert any(np.any(now != before.numpy()) for now, before in zip(start, resumed.trainable_variables, strict=True))


@pytest.mark.integration
@pytest.mark.parametrize("which", [name for name in SETS if name != "latent"])
def test_compiled_in_bfloat16_and_plain_flip_the_same(which):
    tf = import_tensorflow()
    plain, optimizer = network_and_optimizer(which)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed, compiled = network_and_optimizer(which)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert plain.layers[0].compute_dtype == "float32"
    assert mixed.layers[0].compute_dtype == "bfloat16"

    @tf.function(jit_compile=True)
    def apply(gradients):
        compiled.apply_gradients(zip(gradients, mixed.trainable_variables, strict=True))

    for number in range(5):
        step(plain, optimizer, number)
        apply([tf.constant(each) for each in gradients_of(mixed, number)])
    kernels = [[layer.kernel.numpy() for layer in binary_layers(network)] for network in (plain, mixed)]
    assert_equal(*kernels)
    assert {float(each) for kernel in kernels[0] for each in np.unique(kernel)} == {-1.0, 1.0}
    assert {each.dtype for each in compiled.weights if each.dtype.is_floating} == {tf.float32}


@pytest.mark.parametrize("optimizer", [Bop(0.5, at_zero="original"), Bop2nd(moments="unbiased"), CEMA(), Bold()])
def test_config_round_trip(optimizer):
    tf = import_tensorflow()
    optimizer._set_hyper(optimizer.hyper_names[-1], tf.keras.optimizers.schedules.PolynomialDecay(0.5, 10, 0.1))
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert hyper_values(again) == hyper_values(optimizer)


@pytest.mark.integration
def test_hyper_values_are_those_of_the_next_step():
    expected = {
        "bop": {"gamma", "threshold", "learning_rate"},
        "bop2nd unbiased": {"gamma", "threshold", "sigma", "learning_rate"},
        "cema": {"gamma", "alpha", "learning_rate"},
        "bold": {"eta", "learning_rate"},
        "latent": {"learning_rate"},
    }
    for which, names in expected.items():
        network, optimizer = network_and_optimizer(which)
        assert set(hyper_values(optimizer)) == names
        assert hyper_values(optimizer)["learning_rate"] == pytest.approx(1e-2)
        step(network, optimizer, 0)
        assert hyper_values(optimizer)["learning_rate"] == pytest.approx(1e-2 - (1e-2 - 1e-4) / 40)
    network, optimizer = network_and_optimizer("bop2nd unbiased")
    step(network, optimizer, 0)
    values = hyper_values(optimizer)
    start = MODELS.load("binarynet").hparams("bop2nd_digits")
    assert values["sigma"] == pytest.approx(start.sigma + (0.1 - start.sigma) / 40)
    assert values["threshold"] == pytest.approx(start.threshold + (1e-7 - start.threshold) / 40)


@pytest.mark.integration
def test_two_devices_flip_as_one():
    """In a process of its own: devices are made before TensorFlow starts."""
    code = """
        import sys
        sys.path.insert(0, FOLDER)
        from bopkit.keras2 import import_tensorflow
        tf = import_tensorflow()
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        assert strategy.num_replicas_in_sync == 2
        import numpy as np
        from test_flipping import SETS, assert_equal, gradients_of, network_and_optimizer, slots_of
        from bopkit.optim import hyper_values

        def per_replica(network, number):
            return gradients_of(network, 2 * number), gradients_of(network, 2 * number + 1)

        for which in SETS:
            one, optimizer = network_and_optimizer(which)
            with strategy.scope():
                mirrored, shared = network_and_optimizer(which)

            @tf.function
            def replica_step(gradients):
                shared.apply_gradients(zip(gradients, mirrored.trainable_variables))

            start = one.get_weights()
            for number in range(4):
                parts = per_replica(one, number)
                both = [tf.constant(a + b) for a, b in zip(*parts)]
                optimizer.apply_gradients(zip(both, one.trainable_variables))
                values = strategy.experimental_distribute_values_from_function(
                    lambda context: [tf.constant(each) for each in parts[context.replica_id_in_sync_group]]
                )
                strategy.run(replica_step, args=(values,))
            assert_equal(mirrored.get_weights(), one.get_weights())
            for variable in mirrored.trainable_variables:
                for copy in strategy.experimental_local_results(variable):
                    np.testing.assert_array_equal(copy.numpy(), variable.numpy())
            assert_equal(slots_of(mirrored, shared), slots_of(one, optimizer))
            assert hyper_values(shared) == hyper_values(optimizer)
            assert any(np.any(a != b) for a, b in zip(start, one.get_weights()))
            print(which)
    """
    code = textwrap.dedent(code).replace("FOLDER", repr(str(__file__.rpartition("/")[0])))
    result = run_python(code)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split("\n") == [*SETS, ""]
