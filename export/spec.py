"""What an export must satisfy: one value per rule, each with the reason for its number."""

from __future__ import annotations

import dataclasses

MAX_DROP_POINTS = 0.5
"""Largest loss of top-1 that a trained network's artifact may have, in points of a percent: the rule of `--max-drop`.

An artifact with the network's own weights differs from Keras only where a float within rounding of zero changes its
sign on the way into a binary layer. In a trained network that moves the class of few pictures; more is a defect. So
every real picture with another class counts as lost. With weights in fewer bits single answers change both ways, and
the loss of top-1 on labelled pictures is the measure.
"""

PROVEN_SHARE = 0.005
"""Largest share of pictures that may be answered otherwise and be proven to be no near-ties, whatever the network."""

MEAN_DIFFERENCE = 0.01
"""Largest mean difference of one value of an output on real pictures, relative to that value's standard deviation.

For an output that names no class it takes the place of `MAX_DROP_POINTS`. The few signs that change move single
answers; a wrong kernel, or outputs that changed places, move a value by as much as it varies. Each value is compared by
itself: beside the 900 of one coordinate an error of 30 in another would not be seen.
"""

ROUNDING = 1e-6
"""Difference that rounding alone explains, relative to the largest magnitude of an output: some 16 steps of float32."""

SIDE = 0.5
"""Where a single probability changes the answer from no to yes."""

TOLERANCE = 1e-5
"""Largest difference of two scores that counts as equal, relative to the largest score where that exceeds 1.

Float32 has 24 bits, and the float layers sum a few thousand products in another order than Keras does.
"""

SCORE_DIFFERENCE = 0.01
"""Difference of a score that is a defect where no sign differs, relative to the largest score where that exceeds 1.

The classes may still be the same: a softmax of halved scores names the same one. A softmax makes at most a tenth of
this of what rounding makes of scores of a thousand.
"""

OTHER_SCORES_SHARE = 0.2
"""Share of pictures above which scores further apart than `SCORE_DIFFERENCE` are remarked, though classes are the same.

The few signs that change in a trained network move the scores of some pictures; another factor moves those of most.
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
        has_wrong_zero_padding: Whether a runtime pads binary convolutions wrongly with zeros on maps that are smaller
            than the kernel.
        batch_size: Fixed number of pictures in a request; None for any.
    """

    name: str
    packs_real_input: bool
    dense_as_convolution: bool
    has_wrong_zero_padding: bool
    batch_size: int | None


TFLITE = ExportFormat(
    "tflite", packs_real_input=False, dense_as_convolution=True, has_wrong_zero_padding=True, batch_size=1
)
"""LCE flatbuffer: LCE packs 4-D kernels that meet a binarized tensor; devices take one picture at a time."""

SAVED_MODEL = ExportFormat(
    "savedmodel", packs_real_input=True, dense_as_convolution=False, has_wrong_zero_padding=False, batch_size=None
)
"""TensorFlow Serving directory: kernels are unpacked when it is loaded, so what they meet does not matter."""
