"""Whether the outputs of two files agree: scores, the classes that they name, accuracy.

Used for an artifact and Keras here, and for any two artifacts by `bopkit verify`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bopkit.export.network.signature import Signature
from bopkit.export.pictures import Pictures
from bopkit.export.report import Accuracy, Agreement, Disagreement
from bopkit.export.spec import MEAN_DIFFERENCE, TOLERANCE, TOP1_AGREEMENT


def compare_outputs(
    signature: Signature, pictures: Pictures, reference: list[np.ndarray], outputs: list[np.ndarray]
) -> list[Agreement]:
    """Compare all outputs of an artifact with those of Keras.

    Args:
        signature: Of both.
        pictures: What was shown to both.
        reference: float32 [n, ...] of Keras, one an output.
        outputs: float32 [n, ...] of the artifact, one an output.
    """
    agreements = [
        compare_output(pictures, expected, values, signature.names_class(output))
        for output, expected, values in zip(signature.outputs, reference, outputs, strict=True)
    ]
    if len(agreements) == 1:
        return agreements
    named = zip(signature.outputs, agreements, strict=True)
    return [dataclasses.replace(agreement, output=output.name) for output, agreement in named]


def compare_output(
    pictures: Pictures, reference: np.ndarray, scores: np.ndarray, names_class: bool = True
) -> Agreement:
    """Compare one output of an artifact with that of Keras.

    Args:
        pictures: What was shown to both.
        reference: float32 [n, classes] of Keras; [n, ...] where they name no class.
        scores: The same of the artifact.
        names_class: Whether the largest value names a class.
    """
    difference = np.abs(scores.astype(np.float64) - reference)
    magnitudes = np.abs(reference)
    tolerance = TOLERANCE * max(1.0, float(magnitudes.max()))
    top1, disagreements = _compare_classes(reference, scores, tolerance) if names_class else (None, ())
    return Agreement(
        source=pictures.source,
        real=pictures.real,
        pictures=len(reference),
        top1=top1,
        within_tolerance=float(np.mean(difference.reshape(len(difference), -1).max(axis=1) <= tolerance)),
        tolerance=tolerance,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        mean_magnitude=float(magnitudes.mean(dtype=np.float64)),
        disagreements=disagreements,
    )


def _compare_classes(
    reference: np.ndarray, scores: np.ndarray, tolerance: float
) -> tuple[float, tuple[Disagreement, ...]]:
    """The share of pictures with the same class in both, and the others."""
    keras_classes, classes = reference.argmax(axis=1), scores.argmax(axis=1)
    disagreements = tuple(
        _disagreement(int(index), reference[index], scores[index], tolerance)
        for index in np.flatnonzero(keras_classes != classes)
    )
    return float(np.mean(keras_classes == classes)), disagreements


def _disagreement(picture: int, reference: np.ndarray, scores: np.ndarray, tolerance: float) -> Disagreement:
    """What the scores alone, float32 [classes] of Keras and of the artifact, tell of a picture."""
    keras_class, artifact_class = int(reference.argmax()), int(scores.argmax())
    leads = reference[keras_class] - reference[artifact_class], scores[artifact_class] - scores[keras_class]
    margin = float(max(leads))
    near_tie = True if margin <= 2 * tolerance else None  # each of the two may have moved by the tolerance
    return Disagreement(picture, keras_class, artifact_class, margin, near_tie=near_tie)


def agreement_failures(agreement: Agreement, trained: bool | None, reference: str = "Keras") -> list[str]:
    """Check that a network, `reference`, and its artifact agree on enough real pictures.

    Args:
        agreement: Of both.
        trained: None where that is not known: near-ties then do not count, as they are frequent before training.
            An untrained network has no limit.
        reference: What to call the network.
    """
    if trained is False or not agreement.real:
        return []
    where = f"{agreement.output}: " if agreement.output else ""
    on_pictures = f"on {agreement.pictures} pictures ({agreement.source})"
    if agreement.top1 is None:
        if agreement.mean_difference <= MEAN_DIFFERENCE * agreement.mean_magnitude:
            return []
        return [
            f"{where}the mean difference from {reference} is {agreement.mean_difference:.2e} {on_pictures}; at most "
            f"{MEAN_DIFFERENCE:.0%} of the mean magnitude, {agreement.mean_magnitude:.2e}, is allowed"
        ]
    near = sum(each.near_tie is True for each in agreement.disagreements)
    excused = near if trained is None else 0
    if (round(agreement.top1 * agreement.pictures) + excused) / agreement.pictures >= TOP1_AGREEMENT:
        return []
    return [
        f"{where}top-1 agreement with {reference} is {agreement.top1:.2%} {on_pictures}; at least "
        f"{TOP1_AGREEMENT:.1%} is needed ({near} of "
        f"{len(agreement.disagreements)} disagreements are near-ties)"
    ]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of float32 [n, classes] logits."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def measure_accuracy(pictures: Pictures, reference: np.ndarray, scores: np.ndarray) -> Accuracy | None:
    """Top-1 accuracy of Keras' scores and of an artifact's, float32 [n, classes]; None without labels."""
    if pictures.labels is None:
        return None
    before, after = (float(np.mean(each.argmax(axis=1) == pictures.labels)) for each in (reference, scores))
    return Accuracy(pictures.source, len(scores), before, after)


def accuracy_failures(accuracy: Accuracy | None, max_drop: float) -> list[str]:
    """Check that an artifact loses at most `max_drop` points of accuracy."""
    # Shares are multiples of 1/n: the difference of two may miss a limit by rounding alone.
    if accuracy is None or accuracy.drop_points <= max_drop + 1e-9:
        return []
    return [
        f"top-1 accuracy falls from {accuracy.before:.2%} to {accuracy.after:.2%} on {accuracy.pictures} pictures "
        f"({accuracy.source}), {accuracy.drop_points:.2f} points; --max-drop allows {max_drop:g}"
    ]
