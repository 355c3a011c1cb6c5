"""The signature of a network: its named inputs and outputs, which are the same in every format that it is exported to.

Needs TensorFlow for what takes a model; imports it inside the functions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bopkit.export.network.embedding_indices import indices_of_model
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import are_probabilities

Model = Any  # TensorFlow is imported inside the functions
Tensor = Any

_PICTURE_RANK = 3


@dataclasses.dataclass(frozen=True)
class SignatureTensor:
    """One input or output, float32.

    Attributes:
        name: In the signatures.
        shape: Of one example, without the batch.
        is_probabilities: Whether it is an output with a distribution over classes, as far as was seen.
        names_class: Whether the largest value of the output names a class: it is a distribution, or somebody says so.
        indices: Of an input that holds whole numbers from 0, as an Embedding looks them up: the number of those that
            there are; None for any other.
    """

    name: str
    shape: tuple[int, ...]
    is_probabilities: bool = False
    names_class: bool = False
    indices: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SignatureTensor:
        """The tensor from its fields as JSON gives them back."""
        return cls(**{**values, "shape": tuple(values["shape"])})

    @property
    def is_picture(self) -> bool:
        """Whether it has the shape of a picture: height, width, channels."""
        return len(self.shape) == _PICTURE_RANK


@dataclasses.dataclass(frozen=True)
class Signature:
    """All inputs and outputs of a network, in the order in which Keras has them.

    Attributes:
        inputs: At least one.
        outputs: At least one.
    """

    inputs: tuple[SignatureTensor, ...]
    outputs: tuple[SignatureTensor, ...]

    @classmethod
    def of_model(cls, model: Model) -> Signature:
        """The signature of a Keras model; inputs and outputs are named after their layers."""
        inputs, outputs = (
            [(name, tuple(each.shape)[1:]) for name, each in zip(names, tensors, strict=True)]
            for names, tensors in ((model.input_names, model.inputs), (model.output_names, model.outputs))
        )
        return cls.from_shapes(inputs, outputs).with_indices(indices_of_model(model))

    @classmethod
    def from_shapes(
        cls, inputs: Iterable[tuple[str, tuple[int, ...]]], outputs: Iterable[tuple[str, tuple[int, ...]]]
    ) -> Signature:
        """The signature with inputs and outputs of these names and shapes, in their order.

        An only picture is called `images` and an only output `outputs`: Keras numbers the names of layers, so that they
        change from session to session.
        """
        taken, answered = _named_tensors(inputs, "input"), _named_tensors(outputs, "output")
        if len(taken) == 1 and taken[0].is_picture:
            taken = (dataclasses.replace(taken[0], name="images"),)
        if len(answered) == 1:
            answered = (dataclasses.replace(answered[0], name="outputs"),)
        return cls(taken, answered)

    @property
    def takes_picture(self) -> bool:
        """Whether one picture is all that it takes."""
        return len(self.inputs) == 1 and self.inputs[0].is_picture

    @property
    def answers_scores(self) -> bool:
        """Whether one row of scores is all that it answers."""
        return len(self.outputs) == 1 and len(self.outputs[0].shape) == 1

    def input_specs(self, batch_size: int | None) -> list[Any]:
        """The input signature of a tf.function that takes all inputs, float32; None for batches of any size."""
        tf = import_tensorflow()
        return [tf.TensorSpec([batch_size, *each.shape], tf.float32, name=each.name) for each in self.inputs]

    def outputs_by_name(self, values: Iterable[Any]) -> dict[str, Any]:
        """The values of the outputs, given in the order of the signature, by the names of the outputs."""
        return {output.name: each for output, each in zip(self.outputs, values, strict=True)}

    def with_probabilities(self, values: Iterable[np.ndarray]) -> Signature:
        """The signature with a mark at those outputs whose values, float32 [n, ...], are probabilities of classes."""
        outputs = []
        for output, each in zip(self.outputs, values, strict=True):
            found = len(output.shape) == 1 and output.shape[0] > 1 and are_probabilities(each)
            outputs.append(dataclasses.replace(output, is_probabilities=found, names_class=found or output.names_class))
        return Signature(self.inputs, tuple(outputs))

    def with_indices(self, limits: Iterable[int | None]) -> Signature:
        """The signature that says which inputs are indices, given for each input the number that there are, or None."""
        inputs = [dataclasses.replace(each, indices=limit) for each, limit in zip(self.inputs, limits, strict=True)]
        return Signature(tuple(inputs), self.outputs)

    def with_classes(self, count: int) -> Signature:
        """The signature whose only row of scores, if it has `count` of them, names one of so many known classes."""
        if not self.answers_scores or count < 2 or self.outputs[0].shape != (count,):
            return self
        return Signature(self.inputs, (dataclasses.replace(self.outputs[0], names_class=True),))

    def with_scores(self, name: str, is_probabilities: bool) -> Signature:
        """The signature of a network that answers scores, with another name for them."""
        (scores,) = self.outputs
        names_class = scores.names_class or is_probabilities
        renamed = dataclasses.replace(scores, name=name, is_probabilities=is_probabilities, names_class=names_class)
        return Signature(self.inputs, (renamed,))


def match_tensors(tensors: Sequence[SignatureTensor], others: Sequence[SignatureTensor]) -> list[int] | None:
    """Find the inputs, or the outputs, of one network among those of another.

    Args:
        tensors: Inputs or outputs of one network.
        others: Those of the other.

    Returns:
        For each of `tensors` its place among `others`: by name where both have the same names, else in order. None
        where there are not as many of them, or their shapes differ.
    """
    names = [each.name for each in others]
    same_names = sorted(each.name for each in tensors) == sorted(names)
    places = [names.index(each.name) for each in tensors] if same_names else list(range(len(tensors)))
    fit = len(tensors) == len(others) and all(
        tensor.shape == others[place].shape for tensor, place in zip(tensors, places, strict=True)
    )
    return places if fit else None


def tensors_text(tensors: Sequence[SignatureTensor]) -> str:
    """Inputs or outputs for a person: `32 x 32 x 3`, with their names where there are several."""
    sizes = [" x ".join(map(str, each.shape)) or "one number" for each in tensors]
    if len(tensors) == 1:
        return sizes[0]
    return ", ".join(f"{each.name} {size}" for each, size in zip(tensors, sizes, strict=True))


def call(network: Model, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Run a Keras model for inference; inputs and outputs are in the order of its signature."""
    tf = import_tensorflow()
    return tf.nest.flatten(network(tf.nest.pack_sequence_as(network.input, list(inputs)), training=False))


def _named_tensors(described: Iterable[tuple[str, tuple[int, ...]]], kind: str) -> tuple[SignatureTensor, ...]:
    names, shapes = zip(*described, strict=True)
    return tuple(map(SignatureTensor, _identifiers(names, kind), shapes))


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
