"""Subclassed networks as graphs of layers: their Python code is run once on symbolic pictures.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions
Layer = Any


def as_graph(model: Model, input_shape: tuple[int, int, int] | None) -> tuple[Model, tuple[str, ...]]:
    """A functional network with the layers and weights of `model`, and a note that says so.

    `call` runs once, with `training=False` where it takes that; blocks that are Python classes of layers are
    opened, down to layers of Keras and larq, so that the binary ones among them can be packed.

    Args:
        model: A `tf.keras.Model`.
        input_shape: Height, width, channels of one picture; None for the inputs that the model was built with.

    Returns:
        `model` itself and no note where it is a graph already, or where its input shape is not known.
    """
    tf = import_tensorflow()
    if getattr(model, "_is_graph_network", False):
        return model, ()
    shape = (None, *input_shape) if input_shape else getattr(model, "_build_input_shape", None)
    if not shape:
        return model, ()
    inputs = _symbolic(shape, "images")
    with _opened_blocks(tf.keras.layers.Layer):
        outputs = _call(model, inputs)
    note = f"{type(model).__name__} is subclassed: its code was run once, and the layers that it called were exported."
    return tf.keras.Model(inputs, outputs, name=model.name), (note,)


def _symbolic(shape: Any, name: str) -> Any:
    """An input for each shape in what a model was built with: one shape, or several in lists or dictionaries."""
    tf = import_tensorflow()
    if isinstance(shape, dict):
        return {key: _symbolic(each, key) for key, each in shape.items()}
    sizes = tuple(shape)
    if any(isinstance(each, (list, tuple, dict, tf.TensorShape)) for each in sizes):
        return [_symbolic(each, f"{name}_{index}") for index, each in enumerate(sizes)]
    return tf.keras.Input(sizes[1:], name=name)


@contextlib.contextmanager
def _opened_blocks(base: Any) -> Iterator[None]:
    """While this lasts, a block of layers that is called puts its own layers into the graph, not itself."""
    stock_call = base.__call__

    def call_opened(layer: Layer, *args: Any, **kwargs: Any) -> Any:
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        if not _is_symbolic(inputs):
            return stock_call(layer, *args, **kwargs)
        if _is_own_class(layer, base) and not layer.built and type(layer).build is not base.build:
            layer.build(import_tensorflow().nest.map_structure(lambda tensor: tensor.shape, inputs))
            layer.built = True
        return _call(layer, *args, **kwargs) if _is_block(layer, base) else stock_call(layer, *args, **kwargs)

    base.__call__ = call_opened
    try:
        yield
    finally:
        base.__call__ = stock_call


def _call(layer: Layer, *args: Any, **kwargs: Any) -> Any:
    signature = inspect.signature(layer.call)
    given = signature.bind_partial(*args, **kwargs)
    if "training" in signature.parameters:
        given.arguments["training"] = False
    return layer.call(*given.args, **given.kwargs)


def _is_symbolic(inputs: Any) -> bool:
    tf = import_tensorflow()
    return any(tf.keras.backend.is_keras_tensor(each) for each in tf.nest.flatten(inputs) if tf.is_tensor(each))


def _is_own_class(layer: Layer, base: Any) -> bool:
    """Whether a layer's arithmetic is the user's: a class right below Keras' Layer or Model, and no graph."""
    stock = next(each for each in type(layer).__mro__ if each.__module__.partition(".")[0] in ("tf_keras", "larq"))
    model = import_tensorflow().keras.Model
    return stock in (base, model) and not getattr(layer, "_is_graph_network", False)


def _is_block(layer: Layer, base: Any) -> bool:
    """Whether it only calls other layers: one with weights of its own has to stay a layer."""
    own_weights = layer._trainable_weights + layer._non_trainable_weights
    return _is_own_class(layer, base) and not own_weights and any(layer._flatten_layers(include_self=False))
