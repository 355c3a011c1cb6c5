"""The training step: the same as Keras' own, in parts, in bfloat16, and with XLA."""

import numpy as np
import pytest

from bopkit.data import get_preprocessing
from bopkit.data.mixing import MixedLabels
from bopkit.hparams import override
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import top_k_accuracy
from bopkit.optim import make_optimizer
from bopkit.registry import MODELS
from bopkit.training.loss import Loss
from bopkit.training.network import build_training_network
from bopkit.training.step import TrainStep

pytestmark = pytest.mark.integration

ARCHITECTURE = MODELS.load("binarynet")
HPARAMS = override(ARCHITECTURE.hparams("bop_digits"), {"filters": 4, "dense_units": 16})
STEPS_PER_EPOCH = 5


def batches(steps, batch_size=16):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        yield rng.uniform(-1, 1, (batch_size, 16, 16, 1)).astype(np.float32), rng.integers(0, 10, batch_size)


def iterator_over(pairs):
    images, labels = map(np.stack, zip(*pairs, strict=True))
    return iter(import_tensorflow().data.Dataset.from_tensor_slices((images, labels)))


def small_network(**options):
    import_tensorflow().keras.utils.set_random_seed(1)
    return build_training_network(ARCHITECTURE, HPARAMS, (16, 16, 1), 10, **options)


def network_without_batch_norm():
    """Binary convolutions only: batch norm would see parts of a batch."""
    tf = import_tensorflow()
    import larq as lq

    tf.keras.utils.set_random_seed(1)
    kernel = {"kernel_quantizer": lq.quantizers.NoOp(precision=1), "use_bias": False}
    network = tf.keras.Sequential(
        [
            lq.layers.QuantConv2D(8, 3, strides=2, input_shape=(16, 16, 1), **kernel),
            lq.layers.QuantConv2D(8, 3, input_quantizer="ste_sign", **kernel),
            tf.keras.layers.GlobalAvgPool2D(),
            tf.keras.layers.Dense(10, activation="softmax", kernel_regularizer="l2"),
        ]
    )
    from bopkit.optim import set_binary_kernels_to_signs

    set_binary_kernels_to_signs(network)
    return network


def trained(network, steps=4, **options):
    """Losses of some steps, and the weights after them."""
    strategy = import_tensorflow().distribute.get_strategy()
    optimizer, _ = make_optimizer(network, HPARAMS, STEPS_PER_EPOCH)
    step = TrainStep(network, optimizer, strategy, **options)
    iterator = iterator_over(batches(steps))
    sums = [step.train_next(iterator).read()[0] for _ in range(steps)]
    return [each.loss / each.pictures for each in sums], network.get_weights()


def test_steps_equal_those_of_keras_bit_for_bit():
    losses, weights = trained(small_network())
    network = small_network()
    optimizer, _ = make_optimizer(network, HPARAMS, STEPS_PER_EPOCH)
    network.compile(optimizer, "sparse_categorical_crossentropy")
    expected = [network.train_on_batch(*batch) for batch in batches(4)]
    assert losses == pytest.approx(expected, rel=1e-6)  # sums of another order
    for ours, theirs in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("parts", [2, 8])
def test_a_batch_in_parts_steps_as_the_whole_does(parts):
    losses, weights = trained(network_without_batch_norm())
    in_parts, weights_in_parts = trained(network_without_batch_norm(), accumulate=parts)
    assert in_parts == pytest.approx(losses, rel=1e-5)
    for whole, other in zip(weights, weights_in_parts, strict=True):
        np.testing.assert_allclose(other, whole, atol=1e-5)
    start = network_without_batch_norm().get_weights()
    assert any(np.any(before != after) for before, after in zip(start[:2], weights[:2], strict=True))


@pytest.mark.parametrize("options", [{"accumulate": 4}, {"jit": True}, {"accumulate": 2, "jit": True}])
def test_soft_labels_come_in_parts_and_through_xla(options):
    tf = import_tensorflow()

    def with_mixed_labels(images, labels):
        return images, MixedLabels(labels, tf.roll(labels, 1, 0), tf.linspace(0.5, 1.0, tf.size(labels)))

    def said_of(pictures):
        return tf.nn.softmax(tf.reshape(pictures, [-1, 256])[:, :10])

    def trained_softly(**options):
        network = network_without_batch_norm()
        optimizer, _ = make_optimizer(network, HPARAMS, STEPS_PER_EPOCH)
        loss = Loss(0.1, tuple(np.linspace(0.1, 2, 10)), teacher_weight=0.4, temperature=2.0)
        step = TrainStep(network, optimizer, tf.distribute.get_strategy(), loss=loss, teacher=said_of, **options)
        images, labels = map(np.stack, zip(*batches(4), strict=True))
        iterator = iter(tf.data.Dataset.from_tensor_slices((images, labels)).map(with_mixed_labels))
        sums = [step.train_next(iterator).read()[0] for _ in range(4)]
        return [(each.loss, each.top1) for each in sums], network.get_weights()

    whole, weights = trained_softly()
    losses, weights_then = trained_softly(**options)
    np.testing.assert_allclose(losses, whole, rtol=1e-4)
    for ours, theirs in zip(weights_then, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_weights_without_a_gradient_do_not_keep_a_batch_from_coming_in_parts():
    tf = import_tensorflow()

    def network():
        plain = network_without_batch_norm()
        unused = tf.keras.layers.Dense(10, name="unused", kernel_initializer="ones")(plain.layers[-2].output)
        return tf.keras.Model(plain.input, plain.output + 0 * tf.stop_gradient(unused))

    whole, in_parts = network(), network()
    losses, weights = trained(whole)
    losses_in_parts, weights_in_parts = trained(in_parts, accumulate=4)
    assert losses_in_parts == pytest.approx(losses, rel=1e-5)
    for ours, theirs in zip(weights_in_parts, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    kernel, bias = in_parts.get_layer("unused").get_weights()
    assert np.all(kernel == 1) and np.all(bias == 0)


@pytest.mark.parametrize("parts", [1, 2])
def test_pixels_finished_within_a_step_are_as_if_finished_before(parts):
    tf = import_tensorflow()
    finish = get_preprocessing("resize", (16, 16, 1)).finish
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 1), dtype=np.uint8)
    labels = np.arange(8, dtype=np.int64)
    weights = []
    for pictures, options in ((pixels, {"finish": finish}), (finish(pixels).numpy(), {})):
        network = small_network()
        optimizer, _ = make_optimizer(network, HPARAMS, STEPS_PER_EPOCH)
        step = TrainStep(network, optimizer, tf.distribute.get_strategy(), accumulate=parts, **options)
        step.train_next(iterator_over([(pictures, labels)]))
        weights.append(network.get_weights())
    for within, before in zip(*weights, strict=True):
        np.testing.assert_allclose(within, before, rtol=1e-4, atol=1e-6)  # a graph divides by multiplying


def test_xla_computes_the_same():
    losses, _ = trained(network_without_batch_norm())
    assert trained(network_without_batch_norm(), jit=True)[0] == pytest.approx(losses, rel=1e-4)


def test_bfloat16_keeps_variables_batch_norm_and_loss_in_float32():
    tf = import_tensorflow()
    plain, mixed = small_network(), small_network(precision="bfloat16")
    for ours, theirs in zip(mixed.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    optimizer, _ = make_optimizer(mixed, HPARAMS, STEPS_PER_EPOCH)
    assert {variable.dtype for variable in [*mixed.variables, *optimizer.weights]} == {tf.float32, tf.int64}
    assert mixed.output.dtype == tf.float32
    assert mixed.get_layer("conv2").compute_dtype == "bfloat16"
    (images, _) = next(batches(1))
    assert np.any(mixed(images).numpy() != plain(images).numpy())


def test_evaluation_does_not_depend_on_the_batches():
    network = small_network()
    optimizer, _ = make_optimizer(network, HPARAMS, STEPS_PER_EPOCH)
    step = TrainStep(network, optimizer, import_tensorflow().distribute.get_strategy())
    images, labels = next(batches(1, batch_size=30))
    whole = step.evaluate([(images, labels)])
    parts = step.evaluate([(images[a:b], labels[a:b]) for a, b in ((0, 13), (13, 26), (26, 30))])
    assert (parts.pictures, parts.top1, parts.top5) == (whole.pictures, whole.top1, whole.top5)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    scores = network.predict(images, verbose=0)
    assert whole.top1 == np.sum(scores.argmax(axis=1) == labels)
    assert whole.top5 == sum(
        label in np.argsort(-row, kind="stable")[:5] for row, label in zip(scores, labels, strict=True)
    )


@pytest.mark.parametrize("levels", [1, 2, 3, 1000])
def test_equal_scores_count_as_in_the_benchmark(levels):
    """With one level the network has collapsed: it answers all classes alike, and must not be right every time."""
    tf = import_tensorflow()
    rng = np.random.default_rng(0)
    scores = (rng.integers(1, levels + 1, (200, 10)) / levels).astype(np.float32)
    labels = rng.integers(0, 10, 200)
    inputs = tf.keras.Input(10)
    step = TrainStep(tf.keras.Model(inputs, inputs), None, tf.distribute.get_strategy())
    sums = step.evaluate([(scores, labels)])
    assert (sums.top1 / 200, sums.top5 / 200) == tuple(top_k_accuracy(scores, labels, k) for k in (1, 5))
    if levels == 1:
        assert (sums.top1, sums.top5) == (np.sum(labels == 0), np.sum(labels < 5))
    assert step.evaluate([(scores * np.nan, labels)]).top1 == 0
