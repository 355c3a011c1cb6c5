"""Whether the outputs of two files agree: scores, the classes that they name, accuracy.

Used for an artifact and Keras here, and for any two artifacts by `bopkit verify`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from bopkit.export.network.signature import Signature
from bopkit.export.pictures import Pictures
from bopkit.export.report import Accuracy, Agreement, Disagreement
from bopkit.export.spec import (
    MAX_DROP_POINTS,
    MEAN_DIFFERENCE,
    OTHER_SCORES_SHARE,
    PROVEN_SHARE,
    ROUNDING,
    SCORE_DIFFERENCE,
    SIDE,
    TOLERANCE,
    TRACED_PICTURES,
)
from bopkit.text import percent_text

_SLACK = 1e-9
"""Shares are multiples of 1/n: the difference of two may miss a limit by rounding alone."""


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
        compare_output(pictures, expected, values, output.names_class)
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
    difference = np.abs(np.where(np.isfinite(scores), scores, np.inf).astype(np.float64) - reference)
    magnitudes = np.abs(reference)
    tolerance = TOLERANCE * max(1.0, float(magnitudes.max()))
    deviations, rounding = _of_each_value(reference)
    if names_class:
        top1, disagreements = _compare_classes(reference, scores, tolerance)
    else:
        top1, disagreements = None, _largest_differences(difference, MEAN_DIFFERENCE * deviations + rounding)
    return Agreement(
        source=pictures.source,
        real=pictures.real,
        pictures=len(reference),
        top1=top1,
        same_side=_same_side(reference, scores),
        within_tolerance=float(np.mean(difference.reshape(len(difference), -1).max(axis=1) <= tolerance)),
        tolerance=tolerance,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        mean_magnitude=float(magnitudes.mean(dtype=np.float64)),
        worst_value_difference=_worst_value_difference(difference, deviations, rounding),
        is_constant=len(reference) > 1 and bool((reference == reference[:1]).all()),
        disagreements=disagreements,
    )


def apart(reference: np.ndarray, scores: np.ndarray) -> list[int]:
    """The pictures with a score that is further off than rounding after the last sign explains, in their order.

    Empty where they are no more than a few signs explain.
    """
    far = np.abs(scores - reference) > SCORE_DIFFERENCE * max(1.0, float(np.abs(reference).max()))
    pictures = np.flatnonzero(far.reshape(len(far), -1).any(axis=1)).tolist()
    return pictures if len(pictures) / len(far) > OTHER_SCORES_SHARE else []


def other_scores(
    signature: Signature, source: str, reference: list[np.ndarray], outputs: list[np.ndarray]
) -> list[str]:
    """One sentence for each output that names classes by other scores, in more pictures than a few signs explain.

    Args:
        signature: Of both networks.
        source: What was shown to both.
        reference: float32 [n, ...] of one network, one an output.
        outputs: The same of the other.
    """
    lines = []
    for output, expected, scores in zip(signature.outputs, reference, outputs, strict=True):
        far = len(apart(expected, scores)) if output.names_class else 0
        if far:
            where = f"{output.name}: " if len(outputs) > 1 else ""
            seen = f"in {far} of {len(expected)} pictures ({source})"
            lines.append(f"{where}scores differ by more than {SCORE_DIFFERENCE:g} {seen}")
    return lines


def _of_each_value(reference: np.ndarray) -> tuple[np.ndarray, float]:
    """The standard deviation of each value of the last axis, float64, and what rounding can make of any."""
    values = _values(reference).astype(np.float64)
    return values.std(axis=0), ROUNDING * float(np.abs(values).max())


def _values(output: np.ndarray) -> np.ndarray:
    """An output as [n, values]: the places of a map are one row each."""
    return output.reshape(-1, output.shape[-1] if output.ndim > 1 else 1)


def _worst_value_difference(difference: np.ndarray, deviations: np.ndarray, rounding: float) -> float:
    beyond = np.maximum(_values(difference).mean(axis=0) - rounding, 0.0)
    ratios = np.where(beyond > 0, beyond / np.where(deviations > 0, deviations, np.nan), 0.0)
    return float(np.nan_to_num(ratios, nan=np.inf).max())


def _same_side(reference: np.ndarray, scores: np.ndarray) -> float | None:
    """The share of pictures for which a single probability is on the same side of one half; None for other outputs."""
    if reference.shape[1:] != (1,) or reference.min() < 0 or reference.max() > 1:
        return None
    return float(np.mean((reference >= SIDE) == (scores >= SIDE)))


def _largest_differences(difference: np.ndarray, limits: np.ndarray) -> tuple[Disagreement, ...]:
    """The pictures that are furthest beyond the limit of some value, float64 [values]."""
    by_picture = _values(difference).reshape(len(difference), -1, len(limits))
    beyond = (by_picture - limits).max(axis=(1, 2))
    order = [int(index) for index in np.argsort(-beyond, kind="stable")[:TRACED_PICTURES] if beyond[index] > 0]
    return tuple(Disagreement(index, None, None, float(by_picture[index].max())) for index in order)


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


def rule_failures(
    agreements: Iterable[Agreement],
    accuracy: Accuracy | None,
    is_rounded: bool,
    trained: bool | None,
    max_drop: float,
    reference: str = "Keras",
) -> list[str]:
    """Check the rule of `MAX_DROP_POINTS` on all that was compared.

    Args:
        agreements: Of all outputs, on all pictures.
        accuracy: Of both on labelled pictures; None where there are none.
        is_rounded: Whether full-precision weights were stored in fewer bits: signs then change everywhere, and accuracy
            is the measure.
        trained: As for `agreement_failures`.
        max_drop: Largest loss of top-1, in points.
        reference: What to call the network.
    """
    if not is_rounded:
        return [line for each in agreements for line in agreement_failures(each, trained, reference, max_drop)]
    if trained is False or accuracy is None or accuracy.drop_points <= max_drop + _SLACK:
        return []
    return [
        f"top-1 accuracy falls from {percent_text(accuracy.before)} to {percent_text(accuracy.after)} on "
        f"{accuracy.pictures} pictures ({accuracy.source}), {accuracy.drop_points:.2f} points; "
        f"--max-drop allows {max_drop:g}"
    ]


def agreement_failures(
    agreement: Agreement, trained: bool | None, reference: str = "Keras", max_drop: float = MAX_DROP_POINTS
) -> list[str]:
    """Check that a network, `reference`, and its artifact agree on enough pictures.

    Disagreements that are proven not to be near-ties count for every network and every input. What is not traced counts
    on real pictures only, and not for an untrained network, in which near-ties are frequent.

    Args:
        agreement: Of both.
        trained: None where that is not known: near-ties then do not count, as they are frequent before training.
        reference: What to call the network.
        max_drop: Largest share of pictures with another class, in percent.
    """
    where = f"{agreement.output}: " if agreement.output else ""
    on_pictures = f"on {agreement.pictures} pictures ({agreement.source})"
    if not np.isfinite(agreement.largest_difference):
        return [f"{where}it answers with NaN or infinite numbers {on_pictures}, and {reference} with finite ones"]
    failures = []
    if trained is not False and agreement.real:
        failures += [
            _class_failure(agreement, trained, reference, on_pictures, max_drop),
            _value_failure(agreement, reference, on_pictures),
            _side_failure(agreement, reference, on_pictures, max_drop),
        ]
    failures.append(_proven_failure(agreement, reference, on_pictures))
    return [f"{where}{failure}" for failure in failures if failure]


def is_undecided(agreement: Agreement, trained: bool | None) -> bool:
    """Whether an untrained network disagrees with its artifact, and nothing shows whether by near-ties alone."""
    return trained is False and any(each.near_tie is None for each in agreement.disagreements)


def _proven_failure(agreement: Agreement, reference: str, on_pictures: str) -> str:
    """What the traced disagreements prove, if those that are no near-ties would be too many among all pictures."""
    traced = [each for each in agreement.disagreements if each.traced]
    proven = [each for each in traced if each.near_tie is False]
    if not proven:
        return ""
    share = len(proven) / len(traced) * len(agreement.disagreements) / agreement.pictures
    if share <= PROVEN_SHARE:
        return ""
    layers = sorted({each.first_layer for each in proven if each.first_layer})
    place = f"; the first signs that differ enter {', '.join(layers)}" if layers else ""
    return f"{len(proven)} of {len(traced)} traced disagreements with {reference} {on_pictures} are no near-ties{place}"


def _class_failure(
    agreement: Agreement, trained: bool | None, reference: str, on_pictures: str, max_drop: float
) -> str:
    """What is wrong with the classes that an artifact names."""
    if agreement.top1 is None:
        return ""
    near = sum(each.near_tie is True for each in agreement.disagreements)
    excused = near if trained is None else 0
    lost = len(agreement.disagreements) - excused
    if 100 * lost / agreement.pictures <= max_drop + _SLACK:
        return ""
    return (
        f"top-1 agreement with {reference} is {percent_text(agreement.top1)} {on_pictures}; --max-drop {max_drop:g} "
        f"asks for {100 - max_drop:g} % ({near} of {len(agreement.disagreements)} disagreements are near-ties)"
    )


def _value_failure(agreement: Agreement, reference: str, on_pictures: str) -> str:
    """What is wrong with the values of an output that names no class."""
    if agreement.top1 is not None or agreement.worst_value_difference <= MEAN_DIFFERENCE:
        return ""
    by = f"by {agreement.worst_value_difference:.3g} of its standard deviations in the mean"
    if np.isinf(agreement.worst_value_difference):
        by = f"although it is always the same in {reference}"
    return (
        f"a value differs from that of {reference} {on_pictures}, {by}; at most {MEAN_DIFFERENCE:g} standard "
        f"deviations are allowed (mean difference of all values: {agreement.mean_difference:.2e})"
    )


def _side_failure(agreement: Agreement, reference: str, on_pictures: str, max_drop: float) -> str:
    """What is wrong with a single probability."""
    if agreement.same_side is None or 100 * (1 - agreement.same_side) <= max_drop + _SLACK:
        return ""
    return (
        f"the probability is on the same side of {SIDE:g} as that of {reference} for "
        f"{percent_text(agreement.same_side)} {on_pictures}; --max-drop {max_drop:g} asks for {100 - max_drop:g} %"
    )


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
