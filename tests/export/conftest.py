"""Small networks that hold every kind of layer an export treats in its own way."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.export import ExportOptions, export_model, inspection, make_saved_model
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.signature import Signature
from bopkit.export.reference import Reference
from bopkit.export.serving.start import StartTimes
from bopkit.export.tflite.build import build_flatbuffer
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


def build_small_network() -> Any:
    """A binary layer of each kind, one on real pictures: a tenth of the other's time, for tests of any network."""
    tf = import_tensorflow()
    import larq as lq

    binary = {"kernel_quantizer": lq.quantizers.NoOp(precision=1), "use_bias": False}
    layers = [
        tf.keras.Input(INPUT_SHAPE),
        lq.layers.QuantConv2D(32, 3, strides=2, name="first", **binary),
        tf.keras.layers.BatchNormalization(),
        lq.layers.QuantConv2D(16, 3, input_quantizer="ste_sign", name="conv", **binary),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Flatten(),
        lq.layers.QuantDense(CLASSES, input_quantizer="ste_sign", name="dense", **binary),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Activation("softmax"),
    ]
    return randomise(tf.keras.Sequential(layers))


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
    import_tensorflow().keras.backend.reset_uids()  # every worker gives its layers the same names
    return build_network()


@pytest.fixture(scope="session")
def small_network() -> Any:
    """`build_small_network()`; tests must not change it."""
    return build_small_network()


@pytest.fixture(scope="session")
def small_file(small_network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_network` with a card of an untrained network, as .h5."""
    path = tmp_path_factory.mktemp("small") / "small.h5"
    save_model(small_network, make_card(), path)
    return path


class Once:
    """Makes folders that all workers of one run of pytest share, each once.

    Args:
        root: The folder that they are in.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str, make: Callable[[Path], Any]) -> tuple[Path, Any]:
        """The folder of that name, and what `make` returned when it filled the folder; tests must not change it."""
        folder, made = self._root / name, self._root / f"{name}.pickle"
        with open(self._root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                made.write_bytes(pickle.dumps(make(folder)))
        return folder, pickle.loads(made.read_bytes())


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`Once`, in the folder above those of the workers."""
    base = tmp_path_factory.getbasetemp()
    return Once(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="session")
def model_file(once: Once, request: pytest.FixtureRequest) -> Path:
    """`network` with a card of an untrained network, as .h5."""
    folder, _ = once("model", lambda to: save_model(request.getfixturevalue("network"), make_card(), to / "net.h5"))
    return folder / "net.h5"


@pytest.fixture(scope="session")
def exported(once: Once, model_file: Path) -> tuple[Path, Any]:
    """A folder with `net.tflite` and `net/1`, both of `model_file`, and the report."""
    return once("exported", lambda to: _export(model_file, to, ExportOptions(pictures=16)))


@pytest.fixture(scope="session")
def unpacked(once: Once, model_file: Path) -> tuple[Path, Any]:
    """A folder with `net/1` of `model_file`, whose binary kernels are stored as floats, and the report."""
    return once("unpacked", lambda to: _export(model_file, to, ExportOptions(tflite=False, pack=False, pictures=4)))


@pytest.fixture(scope="session")
def flatbuffer(once: Once, request: pytest.FixtureRequest) -> bytes:
    """`network`, converted."""

    def make(folder: Path) -> bytes:
        network = request.getfixturevalue("network")
        reference = Reference(network, None, inspect_layers(network), [], Signature.of_model(network), 0)
        return build_flatbuffer(reference, ExportOptions(), folder / "scratch").content

    return once("flatbuffer", make)[1]


def _export(path: Path, folder: Path, options: ExportOptions) -> Any:
    """The report of an export that measures no start."""
    with pytest.MonkeyPatch.context() as patch:
        _measure_no_start(patch)
        return export_model(path, folder, options)


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
    """A new process takes seconds an export: only tests with `measured_start` start one."""
    if "measured_start" not in request.fixturenames:
        _measure_no_start(monkeypatch)


@pytest.fixture
def measured_start() -> None:
    """Let exports measure how a server starts."""


def _measure_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_saved_model, "measure_start", lambda path: StartTimes(load_s=0.25, first_request_s=0.5))


@pytest.fixture(autouse=True)
def _forked_children(forked_children: None) -> None:
    """No process of an export is the point of these tests."""
