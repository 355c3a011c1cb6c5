"""What files of Larq Zoo's networks (github.com/larq/zoo, larq-zoo 1.0 to 2.4) hold beside stock Keras and larq.

A class of its own for a functional network becomes that, and a `Lambda` whose code is known becomes a layer that does
the same, before the config is checked and Keras sees it. Its bytecode is compared, never run. The functions that the
files name, quantizers of kernels among them, are in `bopkit.artifacts.larq_zoo_objects`.

Needs no TensorFlow.
"""

from __future__ import annotations

import base64
from typing import Any

from bopkit.artifacts.bytecode import digests
from bopkit.artifacts.keras_allow_list import MODELS

Config = dict[str, Any]

_IDENTITY, _OPERATION, _ADD_TO_LAST = "lambda x: x", "utils.TFOpLayer", "MeliusNet's improvement block"

# `bytecode.digests` of their functions, as CPython 3.10 to 3.14 compile them. 3.11 and 3.12 agree on the first.
_KNOWN_CODE = {
    "81954f48d5d48e59ccdee1dadb1a918e645abdf044c8d9f70cd2faf9d725922a": _IDENTITY,  # 3.10
    "3ccfa0faa370e3163fca2fd0de378d682fe350b2c2cd2932dca82dcd656ec4e1": _IDENTITY,  # 3.11
    "467dbf5ce3ef7979c1e059b3221e5b252558e5289ec773dee3c91c3bf97e5bce": _IDENTITY,  # 3.13
    "b7addcd377529e916c45234ddc99c9130c53b100fe5fdedc004a0a8fa96b1c6f": _IDENTITY,  # 3.14
    "8ebb3b27610d94e5b52162337a4d382128ed9f283cfb1740dcdc8b33cbddbc44": _OPERATION,  # 3.10
    "f36c0c3390aeb412ff88074a6123dc3daed5891468c59179bd71acea169eab60": _OPERATION,  # 3.11
    "0344605a84a8f7ff6c3a701d13c04630b4e67cab8035e6be86451401e39b3981": _OPERATION,  # 3.12
    "637676aec6b2b58fd4fc1529a36be0184b7972ff6e874ca0531c47708d27b3aa": _OPERATION,  # 3.13
    "c36b52dc9fb16de2fc248752cde9d6eccdeb4ddf1bcc60e8d249b4b374009da2": _OPERATION,  # 3.14
    "51eaff72c887a71be7b71e2261de395244be357259b5337d4a915c158582fb28": _ADD_TO_LAST,  # 3.10
    "1a80a3a343f2134c17e269aea5b5bc7812d49ebc71f1f341a769d157fe29a3fd": _ADD_TO_LAST,  # 3.11
    "ba500adcd6da4a5e986f54c17288f4fccde2555dd4ad67d30107b5437b58310b": _ADD_TO_LAST,  # 3.12
    "10318867e2a6b83811cd97fab5426e42cffc7264eb3f31c2803274c91d334f16": _ADD_TO_LAST,  # 3.13
    "f09aed0f6ed827533fae7c647b22f6849c3ec5bfd88dde7b76794d65d14d133c": _ADD_TO_LAST,  # 3.14
}

_GROWTH = 64
"""Channels of a MeliusNet's improvement; the digest of its code says so."""


def translated(config: Config) -> Config:
    """A model's config in which known layers stand for what only Larq Zoo's files hold.

    Args:
        config: The config of a whole model, not checked yet; it is not altered. What is not known for certain stays as
            it is, for `keras_config.check_config` to refuse.
    """
    class_name, settings = config.get("class_name"), config.get("config")
    if class_name == "BinaryDenseNet":  # an empty subclass of Keras' Model
        config = {**config, "class_name": "Functional"}
        if "module" in config:  # a `.keras` file
            config |= {"module": "tf_keras.src.engine.functional", "registered_name": "Functional"}
        class_name = "Functional"
    if not isinstance(class_name, str) or class_name not in MODELS or not isinstance(settings, dict):
        return config
    layers = settings.get("layers")
    if not isinstance(layers, list):
        return config
    layers = [_translated_layer(each) if isinstance(each, dict) else each for each in layers]
    return {**config, "config": {**settings, "layers": layers}}


def _translated_layer(layer: Config) -> Config:
    if layer.get("class_name") != "Lambda":
        return translated(layer)
    settings = layer.get("config")
    if not isinstance(settings, dict) or any(settings.get(key) for key in ("arguments", "mask", "output_shape")):
        return layer
    function, module = _untupled(settings.get("function")), settings.get("module")
    if not isinstance(function, list) or len(function) != 3:  # a function by its name
        return layer
    code, _, closure = map(_untupled, function)  # between them the defaults, which a call does not need
    meaning = _known_code(code)
    known = None
    if meaning == _IDENTITY:
        known = _layer(layer, "Activation", activation="linear")
    # What the other two call by name is what it is in these modules.
    if meaning == _OPERATION and module == "larq_zoo.core.utils":
        known = _operation(layer, closure)
    if meaning == _ADD_TO_LAST and module == "larq_zoo.literature.meliusnet":
        known = _addition(layer, closure)
    return layer if known is None else known


def _known_code(code: Any) -> str | None:
    try:
        data = base64.b64decode(code)
    except (TypeError, ValueError):
        return None
    return next((_KNOWN_CODE[each] for each in digests(data) if each in _KNOWN_CODE), None)


def _untupled(value: Any) -> Any:
    """A tuple as a list; SavedModels mark tuples."""
    is_tuple = isinstance(value, dict) and value.get("class_name") == "__tuple__"
    return value.get("items") if is_tuple else value


def _operation(layer: Config, closure: Any) -> Config | None:
    """`tf.split` or `tf.concat` along an axis, as `TFOpLayer(operation, *arguments, **settings)` wraps them."""
    if not isinstance(closure, list) or len(closure) != 3:
        return None
    arguments, settings, operation = map(_untupled, closure)
    if isinstance(operation, dict):  # a function as `.keras` files name it
        operation = operation.get("config")
    axis = settings.get("axis") if isinstance(settings, dict) and len(settings) == 1 else None
    calls = layer.get("inbound_nodes")
    if type(axis) is not int or not isinstance(arguments, list) or not isinstance(calls, list):
        return None
    if operation == "concat" and not arguments:
        return _layer(layer, "Concatenate", axis=axis)
    if operation == "split" and [type(each) for each in arguments] == [int] and all(map(_is_call_on_one, calls)):
        given = {"num_or_size_splits": arguments[0], "axis": axis}
        stock = _layer(layer, "TFOpLambda", function="split")
        return {**stock, "inbound_nodes": [[*call[0][:3], given] for call in calls]}
    return None


def _is_call_on_one(call: Any) -> bool:
    return isinstance(call, list) and len(call) == 1 and isinstance(call[0], list) and call[0][3:] in ([], [{}])


def _addition(layer: Config, closure: Any) -> Config | None:
    """The second input, added onto the last channels of the first, which has as many as the closure says."""
    if not isinstance(closure, list) or len(closure) != 1 or type(closure[0]) is not int or closure[0] < _GROWTH:
        return None
    return _layer(layer, "AddToLastChannels", first_channel=closure[0] - _GROWTH)


def _layer(layer: Config, class_name: str, **settings: Any) -> Config:
    """A layer in the place of another, with the same name and inputs."""
    kept = {key: layer["config"][key] for key in ("name", "trainable", "dtype") if key in layer["config"]}
    place: Config = {key: layer[key] for key in ("name", "inbound_nodes") if key in layer}
    return {"class_name": class_name, "config": {**kept, **settings}, **place}
