"""What Larq Zoo's own files hold loads by its meaning: small networks with the same keys, saved by Keras.

Larq Zoo is not needed: its functions are defined here under its modules' names. Fourteen networks built by larq-zoo 2.4
itself gave the same answers to the last bit.
"""

from __future__ import annotations

import base64
import json
import marshal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edited_models import with_config

from bopkit.artifacts.bytecode import digests
from bopkit.artifacts.custom_code import NO_CUSTOM_CODE
from bopkit.artifacts.keras_file import load_model
from bopkit.artifacts.larq_zoo import translated
from bopkit.errors import BopkitError
from bopkit.export import ExportOptions, export_model
from bopkit.export.sources.source import load_source
from bopkit.keras2 import import_tensorflow

Config = dict[str, Any]

# In the words of Larq Zoo where the code decides. Its modules import TensorFlow so, and the compiler asks for that.
MODULES = {
    "larq_zoo.core.utils": """
import tensorflow as tf
def wrap(tf_op, *args, **kwargs): return lambda x_: tf_op(x_, *args, **kwargs)
""",
    "larq_zoo.literature.meliusnet": """
import tensorflow as tf
def merge(f_in): return lambda x_: x_[0] + tf.pad(x_[1], [[0, 0], [0, 0], [0, 0], [f_in - 64, 0]])
""",
    "larq_zoo.literature.real_to_bin_nets": "def block_end(): return lambda x: x",
}
OTHERS = """
import tensorflow as tf
def merge(f_in): return lambda x_: x_[0] - tf.pad(x_[1], [[0, 0], [0, 0], [0, 0], [f_in - 64, 0]])
def in_front(f_in): return lambda x_: x_[0] + tf.pad(x_[1], [[0, 0], [0, 0], [0, 0], [0, f_in - 64]])
def narrow(f_in): return lambda x_: x_[0] + tf.pad(x_[1], [[0, 0], [0, 0], [0, 0], [f_in - 32, 0]])
def twice(): return lambda x: x + x
def with_default(): return lambda x, y=0: x
def any_number(): return lambda *x: x
"""


def functions(module: str, code: str) -> Config:
    names: Config = {"__name__": module}
    exec(code, names)  # noqa: S102  as a module of that name
    return names


def improved_network() -> Any:
    """A network with the four kinds of Lambda."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    known = {name: value for module, code in MODULES.items() for name, value in functions(module, code).items()}
    pictures = tf.keras.Input((6, 6, 8))
    parts = layers.Lambda(known["wrap"](tf.split, 4, axis=-1), name="split")(pictures)
    parts = [layers.Conv2D(4 + index, 3, padding="same")(each) for index, each in enumerate(parts)]
    x = layers.Lambda(known["wrap"](tf.concat, axis=-1), name="concat")(parts[::-1])
    x = layers.Conv2D(80, 1)(x)
    x = layers.Lambda(known["merge"](80), name="merge")([x, layers.Conv2D(64, 3, padding="same")(x)])
    x = layers.Lambda(known["block_end"](), name="block_out")(x)
    return tf.keras.Model(pictures, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model"])
def test_lambdas_of_known_code_are_layers(name: str, tmp_path: Path) -> None:
    network = improved_network()
    network.save(tmp_path / name)
    loaded = load_source(tmp_path / name, ExportOptions(), NO_CUSTOM_CODE).model
    pictures = np.random.default_rng(0).normal(size=(5, 6, 6, 8)).astype(np.float32)
    np.testing.assert_array_equal(loaded(pictures), network(pictures))
    kinds = {layer.name: type(layer).__name__ for layer in loaded.layers}
    assert [kinds[each] for each in ("split", "concat", "merge", "block_out")] == [
        "TFOpLambda",
        "Concatenate",
        "AddToLastChannels",
        "Activation",
    ]


def lambda_of(function: Any, module: str = "larq_zoo.literature.meliusnet", closure: Any = (80,)) -> Config:
    code = base64.b64encode(marshal.dumps(function.__code__)).decode()
    function = [code, function.__defaults__, closure and list(closure)]
    return {"name": "merge", "function": function, "function_type": "lambda", "module": module, "arguments": {}}


def operation(module: str, *closure: Any) -> Config:
    return lambda_of(functions(module, MODULES["larq_zoo.core.utils"])["wrap"](len), module, closure)


ZOO = {name: each for module, code in MODULES.items() for name, each in functions(module, code).items()}
NOT_KNOWN: dict[str, Callable[[], Config]] = {
    **{name: lambda name=name: lambda_of(functions("a", OTHERS)[name](80)) for name in ("merge", "in_front", "narrow")},
    **{
        name: lambda name=name: lambda_of(functions("a", OTHERS)[name](), closure=None)
        for name in ("twice", "with_default", "any_number")
    },
    "tf of another module": lambda: lambda_of(ZOO["merge"](80), "somewhere"),
    "too few channels": lambda: lambda_of(ZOO["merge"](80), closure=[63]),
    "channels that are no number": lambda: lambda_of(ZOO["merge"](80), closure=["80"]),
    "arguments": lambda: lambda_of(ZOO["merge"](80)) | {"arguments": {"y": 1}},
    "operation of another module": lambda: operation("somewhere", [2], {"axis": -1}, "split"),
    "another operation": lambda: operation("larq_zoo.core.utils", [2], {"axis": -1}, "roll"),
    "another argument": lambda: operation("larq_zoo.core.utils", [2], {"axis": -1, "num": 3}, "split"),
    "sizes of unequal parts": lambda: operation("larq_zoo.core.utils", [[1, 7]], {"axis": -1}, "split"),
    "no code": lambda: lambda_of(ZOO["merge"](80)) | {"function": ["4wEAAAA=", None, [80]]},
    "no base64": lambda: lambda_of(ZOO["merge"](80)) | {"function": ["é", None, [80]]},
    "a name": lambda: lambda_of(ZOO["merge"](80)) | {"function": "merge", "function_type": "function"},
}


@pytest.mark.parametrize("case", NOT_KNOWN)
def test_other_lambdas_stay_for_the_check_to_refuse(case: str) -> None:
    layer = {"class_name": "Lambda", "config": NOT_KNOWN[case](), "inbound_nodes": [[["input", 0, 0, {}]]]}
    config = {"class_name": "Functional", "config": {"layers": [layer]}}
    assert translated(config) == config


def test_a_lambda_that_is_not_known_is_refused(tmp_path: Path) -> None:
    tf = import_tensorflow()
    doubling = functions("larq_zoo.literature.real_to_bin_nets", OTHERS)["twice"]()
    tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Lambda(doubling, name="block_out")]).save(
        tmp_path / "model.h5"
    )
    with pytest.raises(BopkitError, match="class 'Lambda' in layer .*block_out"):
        load_model(tmp_path / "model.h5")


def test_code_is_told_from_damaged_bytes() -> None:
    data = marshal.dumps(ZOO["merge"](80).__code__)
    (right,) = digests(data)
    for at in range(len(data)):
        assert digests(data[:at]) <= {right}
    assert not digests(b"") and not digests(b"\xe3" + b")\xff" * 5000)


def named_network() -> Any:
    """A network that names each function: DoReFaNet's, XNOR-Net's and QuickNet's."""
    tf = import_tensorflow()
    import larq

    from bopkit.artifacts import larq_zoo_objects as zoo

    layers = tf.keras.layers
    pictures = tf.keras.Input((8, 8, 3))
    x = layers.Activation(zoo.clip_by_value_activation)(pictures)
    x = layers.DepthwiseConv2D(3, 2, "same", depthwise_initializer="blurpool_initializer", use_bias=False)(x)
    settings = {"input_quantizer": "ste_sign", "use_bias": False}
    for quantizer in (zoo.xnor_weight_scale, zoo.magnitude_aware_sign_unclipped):
        x = larq.layers.QuantConv2D(32, 3, padding="same", kernel_quantizer=quantizer, pad_values=1, **settings)(x)
        x = layers.BatchNormalization()(x)
    network = tf.keras.Model(pictures, layers.Softmax()(layers.GlobalAveragePooling2D()(x)))
    draw = np.random.default_rng(0)
    network.layers[3].set_weights([draw.normal(0, 1, network.layers[3].kernel.shape)])
    network.layers[5].set_weights([draw.normal(0, 1, network.layers[5].kernel.shape)])
    return network


def by_plain_names(config: Config) -> None:
    """As TensorFlow wrote functions before 2.13."""
    text = json.dumps(config)
    for layer in config["config"]["layers"]:
        for key, value in layer["config"].items():
            if isinstance(value, dict) and value.get("class_name") == "function":
                layer["config"][key] = value["config"]
            if isinstance(value, dict) and value.get("class_name") == "BlurPool":
                layer["config"][key] = "blurpool_initializer"
    assert json.dumps(config) != text


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model"])
def test_functions_by_name(name: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    import larq

    tf = import_tensorflow()
    network = named_network()
    network.save(tmp_path / name)
    pictures = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)
    answers = network(pictures)
    files = [tmp_path / name, *([with_config(tmp_path / name, tmp_path, by_plain_names)] if name[-1] == "5" else [])]
    for path in files:
        loaded = load_source(path, ExportOptions(), NO_CUSTOM_CODE).model
        np.testing.assert_array_equal(loaded(pictures), answers)
        np.testing.assert_array_equal(tf.keras.models.clone_model(loaded).layers[2].depthwise_kernel, blur(3))
        assert loaded.layers[1].activation(np.float32([-2, 0.25, 3])).numpy().tolist() == [0, 0.25, 1]
        latent = [loaded.layers[at].get_weights()[0] for at in (3, 5)]
        with larq.context.quantized_scope(True):
            per_filter, whole = (loaded.layers[at].get_weights()[0] for at in (3, 5))
        scale = np.abs(np.clip(latent[0], -1, 1)).mean((0, 1, 2))
        np.testing.assert_allclose(per_filter, np.where(latent[0] < 0, -scale, scale), rtol=1e-6)
        scale = np.abs(latent[1]).mean()
        np.testing.assert_allclose(whole, np.where(latent[1] < 0, -scale, scale), rtol=1e-6)
    assert not [each for each in recwarn if "serialize" in str(each.message)]


def blur(channels: int) -> np.ndarray:
    kernel = np.float32([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    return np.repeat(kernel[:, :, None, None], channels, axis=2)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_an_empty_subclass_of_a_functional_network(name: str, tmp_path: Path) -> None:
    tf = import_tensorflow()
    kind = type("BinaryDenseNet", (tf.keras.Model,), {"__module__": "larq_zoo.literature.densenet"})
    pictures = tf.keras.Input((4, 4, 2))
    network = kind(inputs=pictures, outputs=tf.keras.layers.Conv2D(3, 3)(pictures), name="densenet")
    network.save(tmp_path / name)
    loaded = load_model(tmp_path / name)
    shown = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(loaded(shown), network(shown))


@pytest.mark.integration
def test_they_are_exported_packed(tmp_path: Path) -> None:
    named_network().save(tmp_path / "named.h5")
    report = export_model(tmp_path / "named.h5", tmp_path / "out", ExportOptions(pictures=4))
    for artifact in report.artifacts:
        packed = {layer.name for layer in artifact.layers if layer.packed}
        assert len(packed) == 2 and all(each.startswith("quant_conv2d") for each in packed)
    tf = import_tensorflow()
    network = improved_network()
    tf.keras.Model(network.inputs, tf.keras.layers.Softmax()(network.outputs[0])).save(tmp_path / "improved.keras")
    report = export_model(tmp_path / "improved.keras", tmp_path / "out", ExportOptions(pictures=4))
    assert [each.format for each in report.artifacts] == ["tflite", "savedmodel"]
