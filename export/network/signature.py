"""What a network takes and answers: the named inputs and outputs that every format of it has.

Needs TensorFlow for what takes a model; imports it inside the functions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions
Tensor = Any

_PICTURE_RANK = 3


@dataclasses.dataclass(frozen=True)
class Port:
    """One input or output, float32.

    Attributes:
        name: In the signatures.
        shape: Of one example, without the batch.
        is_probabilities: Whether it is an output with a distribution over classes, as far as was seen.
    """

    name: str
    shape: tuple[int, ...]
    is_probabilities: bool = False

    @property
    def is_picture(self) -> bool:
        """Whether it has the shape of a picture: height, width, channels."""
        return len(self.shape) == _PICTURE_RANK


@dataclasses.dataclass(frozen=True)
class Ports:
    """All inputs and outputs of a network, in the order in which Keras has them.

    Attributes:
        inputs: At least one.
        outputs: At least one.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def of(cls, model: Model) -> Ports:
        """The ports of a Keras model, named after its layers."""
        inputs, outputs = (
            [(name, tuple(each.shape)[1:]) for name, each in zip(names, tensors, strict=True)]
            for names, tensors in ((model.input_names, model.inputs), (model.output_names, model.outputs))
        )
        return cls.described(inputs, outputs)

    @classmethod
    def described(
        cls, inputs: Iterable[tuple[str, tuple[int, ...]]], outputs: Iterable[tuple[str, tuple[int, ...]]]
    ) -> Ports:
        """The ports of these names and shapes, in their order.

        An only picture is called `images` and an only output `outputs`: a network of another session would have
        other names there.
        """
        described = cls(_ports(inputs, "input"), _ports(outputs, "output"))
        if len(described.inputs) == 1 and described.inputs[0].is_picture:
            described = cls((dataclasses.replace(described.inputs[0], name="images"),), described.outputs)
        if len(described.outputs) == 1:
            described = cls(described.inputs, (dataclasses.replace(described.outputs[0], name="outputs"),))
        return described

    @property
    def takes_picture(self) -> bool:
        """Whether one picture is all that it takes."""
        return len(self.inputs) == 1 and self.inputs[0].is_picture

    @property
    def answers_scores(self) -> bool:
        """Whether one row of scores is all that it answers."""
        return len(self.outputs) == 1 and len(self.outputs[0].shape) == 1

    def names_class(self, output: Port) -> bool:
        """Whether the largest value of an output names a class; of several, only probabilities are sure to."""
        return self.answers_scores or output.is_probabilities

    def input_specs(self, batch_size: int | None) -> list[Any]:
        """The input signature of a tf.function that takes all inputs, float32; None for batches of any size."""
        tf = import_tensorflow()
        return [tf.TensorSpec([batch_size, *each.shape], tf.float32, name=each.name) for each in self.inputs]

    def answer(self, outputs: Iterable[Any]) -> dict[str, Any]:
        """Outputs in the order of the ports, by name."""
        return {port.name: each for port, each in zip(self.outputs, outputs, strict=True)}

    def with_probabilities(self, values: Iterable[np.ndarray]) -> Ports:
        """The ports with a mark at those outputs whose values, float32 [n, ...], are probabilities of classes."""
        outputs = tuple(
            dataclasses.replace(
                port, is_probabilities=len(port.shape) == 1 and port.shape[0] > 1 and are_probabilities(each)
            )
            for port, each in zip(self.outputs, values, strict=True)
        )
        return Ports(self.inputs, outputs)

    def with_scores(self, name: str, is_probabilities: bool) -> Ports:
        """The ports of a network that answers scores, under another name."""
        (scores,) = self.outputs
        return Ports(self.inputs, (dataclasses.replace(scores, name=name, is_probabilities=is_probabilities),))


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether every row of float32 [n, classes] sums to 1 and holds nothing below 0."""
    return bool(np.all(scores >= 0) and np.allclose(scores.sum(axis=1), 1.0, atol=1e-3))


def partners(ports: Sequence[Port], others: Sequence[Port]) -> list[int] | None:
    """For each port its place among the others: by name where both have the same names, else in order.

    Returns:
        None where the partners' shapes differ, or one has more.
    """
    names = [each.name for each in others]
    by_name = sorted(each.name for each in ports) == sorted(names)
    places = [names.index(each.name) for each in ports] if by_name else list(range(len(ports)))
    fit = len(ports) == len(others) and all(
        port.shape == others[place].shape for port, place in zip(ports, places, strict=True)
    )
    return places if fit else None


def ports_text(ports: Sequence[Port]) -> str:
    """Inputs or outputs for a person: `32 x 32 x 3`, with their names where there are several."""
    sizes = [" x ".join(map(str, each.shape)) or "one number" for each in ports]
    if len(ports) == 1:
        return sizes[0]
    return ", ".join(f"{each.name} {size}" for each, size in zip(ports, sizes, strict=True))


def call(network: Model, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of a Keras model in inference, in the order of its ports, as the inputs are."""
    tf = import_tensorflow()
    return tf.nest.flatten(network(tf.nest.pack_sequence_as(network.input, list(inputs)), training=False))


def _ports(described: Iterable[tuple[str, tuple[int, ...]]], kind: str) -> tuple[Port, ...]:
    names, shapes = zip(*described, strict=True)
    return tuple(map(Port, _identifiers(names, kind), shapes))


def _identifiers(names: Iterable[str], kind: str) -> list[str]:
    """Names that a signature takes: of letters, digits and `_`, no two alike."""
    made: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if plain[:1].isalpha() else f"{kind}_{plain}"
        unique, count = plain, 1
        while unique in made:
            unique, count = f"{plain}_{count}", count + 1
        made.append(unique)
    return made
