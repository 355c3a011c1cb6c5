"""What an export must satisfy: one value per rule, each with the reason for its number."""

from __future__ import annotations

import dataclasses

TOP1_AGREEMENT = 0.995
"""Least share of real pictures for which a trained network and its artifact name the same class.

An artifact with correct bits differs from Keras only where a float within rounding of zero changes its sign
on the way into a binary layer. In a trained network that moves the class of few pictures; more is a defect.
"""

MEAN_DIFFERENCE = 0.01
"""Largest mean difference of an output without classes on real pictures, relative to its mean magnitude.

For such an output of a trained network it takes the place of `TOP1_AGREEMENT`. The few signs that change move single
values; two outputs that changed places, or an input that met another's layers, move the mean by as much as its size.
"""

TOLERANCE = 1e-5
"""Largest difference of two scores that counts as equal, relative to the largest score where that exceeds 1.

Float32 has 24 bits, and the float layers sum a few thousand products in another order than Keras does.
"""

NEAR_TIE = 1e-4
"""Largest magnitude, relative to the root mean square of its layer, of an activation whose sign may differ.

Folding batch normalisation into a multiplier and a bias rounds differently: on Bi-Real Net the signs that
changed lay within 4e-6. A sign that changed for another reason lies within 1e-4 in one case of 10,000.
"""

RANDOM_PICTURES = 64
"""Pictures of uniform noise: they reach values that photographs do not, and cost little."""

CALIBRATION_PICTURES = 128
"""Training pictures that give the ranges of int8 activations: a hundred or so is what LiteRT's guide asks for."""

UNCHANGED_PICTURES = 8
"""Pictures on which the finished file must answer as it did before metadata was added, bit for bit."""

TRACED_PICTURES = 16
"""Disagreements of one comparison that are traced: each costs a run that records what enters every layer."""


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """What is particular to one of the formats that a network can be exported to.

    Attributes:
        name: As reports call it.
        packs_real_input: Whether a binary kernel is packed when the layer's input is real.
        dense_as_convolution: Whether a binary dense layer becomes a 1x1 convolution.
        batch_size: Fixed number of pictures in a request; None for any.
    """

    name: str
    packs_real_input: bool
    dense_as_convolution: bool
    batch_size: int | None


TFLITE = ExportFormat("tflite", packs_real_input=False, dense_as_convolution=True, batch_size=1)
"""LCE flatbuffer: LCE packs 4-D kernels that meet a binarized tensor; devices take one picture at a time."""

SAVED_MODEL = ExportFormat("savedmodel", packs_real_input=True, dense_as_convolution=False, batch_size=None)
"""TensorFlow Serving directory: kernels are unpacked when it is loaded, so what they meet does not matter."""
