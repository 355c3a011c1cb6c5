"""Small networks that hold every kind of layer an export treats in its own way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.export import exporter, inspection
from bopkit.export.serving.start import Start
from bopkit.export.verification import verify
from bopkit.isolation import Child
from bopkit.keras2 import import_tensorflow

INPUT_SHAPE = (12, 12, 3)
CLASSES = 10


def build_network() -> Any:
    """A network with every setting of a binary layer, a nested network, and a layer that is called twice."""
    tf = import_tensorflow()
    import larq as lq

    keras = tf.keras.layers

    def bop(**settings: Any) -> dict[str, Any]:
        return {"kernel_quantizer": lq.quantizers.NoOp(precision=1), "use_bias": False, **settings}

    inputs = tf.keras.Input((6, 6, 64))
    x = lq.layers.QuantConv2D(64, 3, input_quantizer="ste_sign", padding="same", groups=2, name="grouped", **bop())(
        inputs
    )
    x = keras.BatchNormalization(name="nested_norm")(x)
    nested = tf.keras.Model(inputs, x, name="nested")

    inputs = tf.keras.Input(INPUT_SHAPE)
    x = lq.layers.QuantConv2D(40, 3, padding="same", name="real_input", **bop())(inputs)
    x = keras.BatchNormalization()(x)
    x = lq.layers.QuantConv2D(64, 3, input_quantizer="ste_sign", padding="same", pad_values=1, name="ones", **bop())(x)
    x = keras.BatchNormalization()(x)
    x = lq.layers.QuantConv2D(
        64,
        3,
        strides=2,
        padding="same",
        input_quantizer="approx_sign",
        kernel_quantizer="magnitude_aware_sign",
        kernel_constraint="weight_clip",
        name="scaled_latent",
    )(x)
    x = keras.BatchNormalization()(x)
    x = nested(x)
    x = lq.layers.QuantConv2D(
        32,
        3,
        dilation_rate=2,
        input_quantizer="swish_sign",
        name="dilated",
        **bop(use_bias=True, activation="relu"),
    )(x)
    x = keras.BatchNormalization()(x)
    x = keras.Flatten()(x)
    x = lq.layers.QuantDense(48, input_quantizer="ste_sign", name="dense", **bop(use_bias=True, activation="tanh"))(x)
    x = keras.BatchNormalization()(x)
    twice = lq.layers.QuantDense(48, input_quantizer="ste_sign", name="called_twice", **bop())
    x = keras.BatchNormalization()(twice(x))
    x = keras.BatchNormalization()(twice(x))
    x = lq.quantizers.SteSign(name="sign")(x)
    x = lq.layers.QuantDense(40, name="sign_before", **bop())(x)
    x = keras.BatchNormalization()(x)
    x = lq.layers.QuantDense(
        CLASSES,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        name="latent",
    )(x)
    x = keras.BatchNormalization()(x)
    outputs = keras.Activation("softmax")(x)
    return randomise(tf.keras.Model(inputs, outputs))


def randomise(model: Any, seed: int = 0) -> Any:
    """Give binary kernels random signs, and every other weight a plausible random value."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if hasattr(layer, "layers"):
            randomise(layer, seed + 1)
            continue
        weights = []
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if "kernel" in variable.name:
                quantizer = type(layer.kernel_quantizer).__name__ if hasattr(layer, "kernel_quantizer") else ""
                values = generator.uniform(-1, 1, shape)
                weights.append(np.where(values < 0, -1.0, 1.0) if quantizer == "NoOp" else values)
            elif "variance" in variable.name:
                weights.append(generator.uniform(20, 100, shape))
            else:
                weights.append(generator.normal(0, 1, shape))
        layer.set_weights(weights)
    return model


def make_card(**facts: Any) -> ModelCard:
    """The card of `build_network()`."""
    card = {
        "architecture": "test",
        "input_shape": INPUT_SHAPE,
        "value_range": (-1.0, 1.0),
        "preprocessing": "resize",
        "class_names": tuple(f"class {index}" for index in range(CLASSES)),
    }
    return ModelCard(**{**card, **facts})


@pytest.fixture(scope="session", name="randomise")
def fixture_randomise() -> Callable[..., Any]:
    """`randomise`, for networks that a test builds itself."""
    return randomise


@pytest.fixture(scope="session", name="make_card")
def fixture_make_card() -> Callable[..., ModelCard]:
    """`make_card`."""
    return make_card


@pytest.fixture(scope="session")
def network() -> Any:
    """`build_network()`; tests must not change it."""
    return build_network()


@pytest.fixture(scope="session")
def model_file(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`network` with a card of an untrained network, as .h5."""
    path = tmp_path_factory.mktemp("model") / "net.h5"
    save_model(network, make_card(), path)
    return path


@pytest.fixture(scope="session")
def _child() -> Iterator[Child]:
    """A process that imports TensorFlow once for all tests with `one_child`."""
    with Child() as process:
        yield process


@pytest.fixture
def one_child(_child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `verify` and the like share a process: tests of what they find need no new one for each file, of seconds."""
    for module in (verify, inspection.report, inspection.diff):
        monkeypatch.setattr(module, "Child", lambda: contextlib.nullcontext(_child))


@pytest.fixture(autouse=True)
def _no_start_is_measured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process takes seconds an export: only tests marked `integration` start one."""
    if not request.node.get_closest_marker("integration"):
        monkeypatch.setattr(exporter, "measure_start", lambda path: Start(load_s=0.25, first_request_s=0.5))
