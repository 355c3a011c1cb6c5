"""A kernel is binary by what it does, and no layer is replaced by what it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.export import ExportOptions, export_model
from bopkit.export.inspection.contents import read_contents
from bopkit.export.network.layers import inspect_layers
from bopkit.export.verification.verify import verify_artifacts
from bopkit.keras2 import import_tensorflow

SIGNS = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}


def exported(network: Any, folder: Path, **options: Any) -> dict[str, bool]:
    """Whether each layer of the flatbuffer is packed; the export has compared its answers."""
    network.save(folder / "net.h5")
    report = export_model(folder / "net.h5", options=ExportOptions(pictures=4, savedmodel=False, **options))
    return {layer.name: layer.packed for layer in report.artifacts[0].layers}


def signs(kernel: np.ndarray) -> np.ndarray:
    return np.where(kernel < 0, np.float32(-1), np.float32(1))


@pytest.mark.integration
def test_kernels_of_signs_are_packed_though_no_quantizer_says_so(randomise: Callable[..., Any], tmp_path: Path) -> None:
    """As the Bop paper's own code leaves them, behind signs that are moved and repeated."""
    import larq

    tf = import_tensorflow()
    keras = tf.keras.layers
    inputs = tf.keras.Input((8, 8, 3))
    x = larq.quantizers.SteSign()(keras.Conv2D(32, 1, name="real")(inputs))
    x = keras.Concatenate()([x, keras.Cropping2D(0)(x)])
    x = keras.UpSampling2D(2)(x)
    x = keras.Conv2D(32, 3, use_bias=False, name="keras_conv")(x)
    x = larq.layers.QuantConv2D(32, 3, input_quantizer="ste_sign", use_bias=False, name="larq_conv")(x)
    x = larq.layers.QuantDense(8, input_quantizer="ste_sign", use_bias=False, name="larq_dense")(keras.Flatten()(x))
    network = randomise(tf.keras.Model(inputs, x))
    binary = ("keras_conv", "larq_conv", "larq_dense")
    for name in binary:
        network.get_layer(name).set_weights([signs(network.get_layer(name).get_weights()[0])])
    packed = exported(network, tmp_path)
    assert packed == {"real": False, **dict.fromkeys(binary, True)}


@pytest.mark.integration
def test_a_layer_inside_another_is_packed_by_the_converter(randomise: Callable[..., Any], tmp_path: Path) -> None:
    import larq

    tf = import_tensorflow()
    frames = tf.keras.Input((3, 8, 8, 32))
    conv = larq.layers.QuantConv2D(16, 3, use_bias=False, **SIGNS)
    x = tf.keras.layers.TimeDistributed(conv, name="frames")(frames)
    network = tf.keras.Model(frames, tf.keras.layers.GlobalAveragePooling3D()(x))
    assert exported(network, tmp_path) == {"frames": True}


OWN_CLASS = """
import larq

class Scaled(larq.layers.QuantConv2D):
    def call(self, inputs):
        return super().call(inputs) / 64 + 0.25
"""


@pytest.mark.integration
def test_a_class_of_the_users_own_keeps_its_arithmetic(
    randomise: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outputs are compared by the export; larq's own convolution would have neither scale nor offset."""
    (tmp_path / "own_layers.py").write_text(OWN_CLASS)
    monkeypatch.syspath_prepend(tmp_path)
    import own_layers

    tf = import_tensorflow()
    inputs = tf.keras.Input((8, 8, 32))
    x = own_layers.Scaled(16, 3, use_bias=False, name="scaled", **SIGNS)(inputs)
    network = tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(x))
    (facts,) = inspect_layers(network)
    assert facts.float_reason == "Scaled is a class of its own, with other arithmetic than larq's"
    assert exported(network, tmp_path, custom=("own_layers",)) == {"scaled": True}  # by the converter


@pytest.mark.integration
@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.release)])
def test_quantizers_inside_layers_leave_mixed_precision_too(policy: str, tmp_path: Path) -> None:
    import larq

    tf = import_tensorflow()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        inputs = tf.keras.Input((8, 8, 32))
        x = larq.layers.QuantConv2D(16, 3, use_bias=False, name="conv", **SIGNS)(inputs)
        x = tf.keras.layers.Activation("linear", dtype="float32")(tf.keras.layers.GlobalAveragePooling2D()(x))
        network = tf.keras.Model(inputs, x)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert exported(network, tmp_path) == {"conv": True}
    assert [each.name for each in read_contents(tmp_path / "net.h5").kernels] == ["conv"]
    verification = verify_artifacts(tmp_path / "net.h5", tmp_path / "net.tflite", pictures=4)
    assert verification.passed and verification.model[0].within_tolerance == 1.0


def test_a_class_of_the_users_own_is_no_layer_of_the_same_family() -> None:
    """What a class makes of signs is told from the class itself, not from what it derives from."""
    import larq

    tf = import_tensorflow()
    keras = tf.keras.layers

    class Halved(larq.quantizers.SteSign):
        def call(self, inputs: Any) -> Any:
            return super().call(inputs) / 2

    class HalvedConcatenate(keras.Concatenate):
        def call(self, inputs: Any) -> Any:
            return super().call(inputs) / 2

    class Scaled(keras.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.activation = larq.quantizers.SteSign()

        def call(self, inputs: Any) -> Any:
            return self.activation(inputs) / 2

    class Renamed(keras.Flatten):
        """Changes nothing."""

    inputs = tf.keras.Input((4, 8))
    signs = larq.quantizers.SteSign()(inputs)
    sources = {
        "halved": Halved()(inputs),
        "concatenated": HalvedConcatenate()([signs, signs]),
        "scaled": Scaled()(inputs),
        "recurrent": keras.LSTM(8, activation=larq.quantizers.SteSign())(inputs),
        "renamed": Renamed()(signs),
    }
    for name, source in sources.items():
        dense = larq.layers.QuantDense(8, kernel_quantizer="ste_sign", use_bias=False, name=f"after_{name}")
        (facts,) = (each for each in inspect_layers(tf.keras.Model(inputs, dense(source))) if each.layer is dense)
        assert facts.input_is_binarized == (name == "renamed"), name
    own = larq.layers.QuantDense(8, input_quantizer=Halved(), kernel_quantizer="ste_sign", use_bias=False)
    (facts,) = inspect_layers(tf.keras.Model(inputs, own(inputs)))
    assert facts.float_reason == "input is not a plain sign: Halved"
