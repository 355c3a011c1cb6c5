"""Rewiring Keras' graph of layers: the layers stay, what they are called on changes.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from bopkit.export.network.layers import input_quantizer, is_sign
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions
Layer = Any
Node = Any
"""One call of a layer in a Keras graph."""
KerasTensor = Any
NewTensor = Callable[[KerasTensor], KerasTensor]
"""Gives the tensor of the new graph that stands for a tensor of the old one."""
Rewire = Callable[[Node, NewTensor], KerasTensor | None]
"""Calls layers in place of a node and returns its only output in the new graph; None to repeat the call as it was."""
Change = Callable[[Node, NewTensor], tuple[str, KerasTensor] | None]
"""As `Rewire`, with the name of the layer that is reported as changed."""


def rebuild(network: Model, rewire: Rewire) -> Model:
    """The same layers on the same inputs, called in another way; what no output needs any more falls away.

    Networks inside the network are taken apart, so that the new graph is flat.

    Args:
        network: A functional or sequential model; its layers are shared with the new one.
        rewire: Is asked for each call of a layer, in an order in which they can run.
    """
    tf = import_tensorflow()
    new: dict[int, KerasTensor] = {}

    def new_tensor(old: KerasTensor) -> KerasTensor:
        return new.get(id(old), old)

    def run(part: Model, inputs: Any) -> None:
        new.update((id(old), tensor) for old, tensor in zip(part.inputs, tf.nest.flatten(inputs), strict=True))
        for node in nodes(part):
            args, kwargs = tf.nest.map_structure(new_tensor, (node.call_args, node.call_kwargs))
            outputs: Any
            if isinstance(node.layer, tf.keras.Model):
                run(node.layer, args)
                outputs = [new_tensor(each) for each in node.layer.outputs]
            else:
                outputs = rewire(node, new_tensor)
                if outputs is None:
                    outputs = node.layer(*args, **kwargs)
            old_outputs = tf.nest.flatten(node.outputs)
            new.update((id(old), tensor) for old, tensor in zip(old_outputs, tf.nest.flatten(outputs), strict=True))

    run(network, network.inputs)
    outputs = tf.nest.map_structure(new_tensor, network._nested_outputs)
    return tf.keras.Model(network.inputs, outputs, name=network.name)


def rebuild_noting(network: Model, change: Change) -> tuple[Model, list[str]]:
    """`rebuild`, where each changed call names the layer that it is about.

    Returns:
        The new network and the names, in the order of the calls; the network itself where nothing changes.
    """
    names: list[str] = []

    def rewire(node: Node, new_tensor: NewTensor) -> KerasTensor | None:
        changed = change(node, new_tensor)
        if changed is None:
            return None
        name, output = changed
        names.append(name)
        return output

    rebuilt = rebuild(network, rewire)
    return (rebuilt, names) if names else (network, [])


def flatten(network: Model) -> Model:
    """The same graph without networks inside it; a layer whose name is taken is called by its path from then on."""
    _make_names_unique(network)
    return rebuild(network, lambda node, new_tensor: None)


def _make_names_unique(network: Model) -> None:
    """Networks inside a network have names of their own; in a flat graph, Keras allows each name once."""
    keras = import_tensorflow().keras
    taken = dict.fromkeys(network.input_names)  # the layer of each name; inputs stay what they are

    def visit(part: Model, path: str) -> None:
        for layer in part.layers:
            if isinstance(layer, keras.Model):
                visit(layer, f"{path}{layer.name}/")
            elif not isinstance(layer, keras.layers.InputLayer):
                if taken.setdefault(layer.name, layer) is not layer:
                    layer._name = f"{path}{layer.name}"
                    taken[layer.name] = layer

    visit(network, "")


def nodes(network: Model) -> Iterator[Node]:
    """Every call of a layer, in an order in which they can run."""
    for depth in sorted(network._nodes_by_depth, reverse=True):
        yield from (node for node in network._nodes_by_depth[depth] if not node.is_input)


class Consumers:
    """Who takes each tensor of a network."""

    def __init__(self, network: Model):
        self._by_tensor: dict[int, list[Node | None]] = defaultdict(list)
        for node in nodes(network):
            for tensor in node.keras_inputs:
                self._by_tensor[id(tensor)].append(node)
        for tensor in network.outputs:
            self._by_tensor[id(tensor)].append(None)

    def of(self, tensor: KerasTensor) -> list[Node | None]:
        """The calls that take a tensor; None among them where it is an output of the network."""
        return self._by_tensor[id(tensor)]

    def is_single(self, tensor: KerasTensor) -> bool:
        """Whether one call alone takes it."""
        return len(self.of(tensor)) == 1


def producer(tensor: KerasTensor) -> Node:
    """The call that makes a tensor."""
    history = tensor._keras_history
    return history.layer.inbound_nodes[history.node_index]


def asks_for_training(node: Node) -> bool:
    """Whether a call wants what its layer does in training, by position or by name."""
    arguments = inspect.signature(node.layer.call).bind_partial(*node.call_args, **node.call_kwargs).arguments
    training = arguments.get("training")
    return training is not None and training is not False


def binarizes_input(node: Node | None) -> bool:
    """Whether a call uses nothing of its input but the sign, taken by the layer's own quantizer."""
    return node is not None and is_sign(input_quantizer(node.layer))
