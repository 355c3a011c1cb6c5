"""Configs of TensorFlow 2.4 to 2.15: settings unknown to today's Keras are dropped, and reported if they had an effect.

Keras refuses a config with a keyword that its class does not know. What the classes take today is read from their
constructors, so that nothing here has to list what each version of Keras and larq once wrote.
"""

from __future__ import annotations

import inspect
from collections.abc import Set
from typing import Any

from bopkit.artifacts.custom_code import NO_CUSTOM_CODE, CustomCode
from bopkit.artifacts.keras_allow_list import (
    INITIALIZERS,
    KERAS_LAYERS,
    LARQ_LAYERS,
    LARQ_QUANTIZERS,
    LARQ_ZOO_FUNCTIONS,
)
from bopkit.keras2 import import_tensorflow

Config = dict[str, Any]

TRAINING_ONLY = frozenset({"experimental_autocast", "loss_scale", "metrics"})
"""Keys without effect on a network that is not trained: casts that are the default now, larq's flip counts."""

# What Keras takes out of **kwargs, where no signature shows it (tf_keras 2.21, layers/ and engine/base_layer.py).
_UNSEEN_KEYS = frozenset(
    """
    activity_regularizer autocast batch_input_shape batch_size causal enable_caching_device implementation input_dim
    input_length input_shape key_shape query_shape ragged return_runtime reverse_state_order sparse synchronized
    time_major use_one_hot_matmul value_shape weights zero_output_for_mask
    """.split()
)

_FUNCTION = {"class_name": "function", "module": "builtins", "registered_name": "function"}
"""How larq reads a quantizer that is a function, outside of .h5 files."""

_HAVE_OWN_READERS = {"Bidirectional", "InputLayer", "TimeDistributed"}
_CHECKED = (KERAS_LAYERS - _HAVE_OWN_READERS - INITIALIZERS) | LARQ_LAYERS | LARQ_QUANTIZERS


def modernised(
    config: Config, custom_code: CustomCode = NO_CUSTOM_CODE, is_hdf5: bool = True
) -> tuple[Config, list[str]]:
    """The config as today's Keras takes it.

    Args:
        config: A config that `keras_config.check_config` has passed; it is not altered.
        custom_code: Classes of the user's own, which are left alone.
        is_hdf5: Whether it comes from a `.h5` file, where Keras and larq read functions by their bare names only.

    Returns:
        The config, equal to `config` where nothing had to change, and a sentence for each key that was dropped
        though it was switched on.
    """
    notes: list[str] = []
    functions = LARQ_ZOO_FUNCTIONS | {name for name, each in custom_code.objects.items() if inspect.isfunction(each)}
    return _modernised(config, custom_code, functions, is_hdf5, notes), notes


def _modernised(value: Any, custom_code: CustomCode, functions: Set[str], is_hdf5: bool, notes: list[str]) -> Any:
    if isinstance(value, list):
        return [_modernised(each, custom_code, functions, is_hdf5, notes) for each in value]
    if not isinstance(value, dict):
        return value
    value = {key: _modernised(each, custom_code, functions, is_hdf5, notes) for key, each in value.items()}
    for key, each in value.items():
        if key.endswith("_quantizer") and isinstance(each, str) and each in functions and not is_hdf5:
            value[key] = _FUNCTION | {"config": each}
    settings, class_name = value.get("config"), value.get("class_name")
    if class_name == "function" and isinstance(settings, str) and settings in functions and is_hdf5:
        return settings
    if not isinstance(settings, dict) or not isinstance(class_name, str):
        return value
    if class_name == "PolicyV1":  # tf.keras.mixed_precision.experimental, up to TensorFlow 2.8
        return {**value, "class_name": "Policy", "config": {"name": settings.get("name")}}
    known = _accepted_keys(class_name) if class_name in _CHECKED - custom_code.objects.keys() else None
    if known is None:
        return value
    for key in sorted(settings.keys() - known):
        if settings[key] and key not in TRAINING_ONLY:
            notes.append(
                f"Layer {settings.get('name', class_name)}: {key}={settings[key]!r} is dropped, as {class_name} has no "
                "such setting any more; check that its accuracy is as you expect."
            )
    return {**value, "config": {key: each for key, each in settings.items() if key in known}}


def _accepted_keys(class_name: str) -> frozenset[str] | None:
    """Every key that a class takes; None for a class that is not found here or has a reader of its own."""
    tf = import_tensorflow()
    import larq

    homes = (tf.keras.layers, tf.keras.layers.experimental, larq.layers, larq.quantizers)
    found = next((getattr(home, class_name) for home in homes if hasattr(home, class_name)), None)
    if not inspect.isclass(found):
        return None
    keys = set(_UNSEEN_KEYS)
    for base in found.__mro__:
        if "__init__" in vars(base):
            keys |= inspect.signature(vars(base)["__init__"]).parameters.keys()
    return frozenset(keys - {"self", "args", "kwargs"})
