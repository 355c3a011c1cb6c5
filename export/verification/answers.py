"""The last part of `bopkit verify`: whether two artifacts answer alike.

Both were run (`bopkit.export.verification.worker`): on the inputs of the first one, which shows the difference of the
networks alone, and each on what its own card's preprocessing makes of the same pictures.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from bopkit.artifacts import artifact
from bopkit.export.checks.scores import compare_outputs, is_undecided, measure_accuracy, other_scores, rule_failures
from bopkit.export.network.signature import Signature, match_tensors
from bopkit.export.pictures import Pictures
from bopkit.export.report import Accuracy, Agreement
from bopkit.export.verification.result import PreprocessingDifference, Side
from bopkit.export.verification.tracing import TraceRequest, trace_in_child
from bopkit.export.verification.worker import (
    LABELS,
    NOISE,
    NOISE_OF_REFERENCE,
    PICTURES,
    PICTURES_OF_REFERENCE,
    RunRequest,
    load_arrays,
)

_SHOWN_TO_BOTH = ((PICTURES, PICTURES_OF_REFERENCE), (NOISE, NOISE_OF_REFERENCE))
"""Files of the first and of the second artifact in which both are shown the same: what the first one takes."""

TIMEOUT_S = 3600.0
"""For one artifact on all pictures."""

Agreements = tuple[Agreement, ...]
"""One an output."""


@dataclasses.dataclass(frozen=True)
class ComparedAnswers:
    """What was found; see `Verification` for the attributes."""

    model: Agreements = ()
    noise: Agreements = ()
    deployed: Agreements = ()
    preprocessing: PreprocessingDifference | None = None
    accuracy: Accuracy | None = None
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    undecided: bool = False


def compare_answers(
    request: RunRequest, sides: tuple[Side, Side], folders: list[Path], max_drop: float
) -> ComparedAnswers:
    """Compare what both artifacts answered.

    Args:
        request: Of the first one.
        sides: Both artifacts.
        folders: What each of them was shown and answered.
        max_drop: Largest loss of top-1, in points of a percent.
    """
    one, two = sides
    trained = not (one.untrained or two.untrained)
    notes = [] if trained else [_UNTRAINED]
    places = match_tensors(one.outputs, two.outputs)
    if places is None or match_tensors(one.inputs, two.inputs) is None:
        return ComparedAnswers(notes=(*notes, "The scores were not compared, as the shapes differ."))

    signature = _signature_of_both(one, two, places)
    is_rounded = one.is_rounded or two.is_rounded
    accuracy = _accuracy(signature, one.pictures, folders)

    def compared(source: str, real: bool, shown_first: str, shown_second: str) -> Agreements:
        pictures = Pictures(source, real, tuple(load_arrays(folders[0], f"{shown_first}_inputs")))
        reference = load_arrays(folders[0], f"{shown_first}_outputs")
        outputs = load_arrays(folders[1], f"{shown_second}_outputs")
        return tuple(compare_outputs(signature, pictures, reference, [outputs[place] for place in places]))

    def wrong(agreements: Agreements) -> list[str]:
        return rule_failures(agreements, accuracy, is_rounded, trained, max_drop, one.path)

    noise_source = "uniform random input" if any(each.is_picture for each in one.inputs) else one.pictures
    sources = ((one.pictures, True), (noise_source, False))
    model, noise = (compared(*source, *shown) for source, shown in zip(sources, _SHOWN_TO_BOTH, strict=True))
    if not is_rounded:
        model, noise = _traced([model, noise], request, sides, folders)
    outputs_of_two = load_arrays(folders[1], f"{PICTURES_OF_REFERENCE}_outputs")
    shown_to_both = load_arrays(folders[0], f"{PICTURES}_outputs"), [outputs_of_two[place] for place in places]
    failures = wrong((*model, *noise))
    others = [] if is_rounded or failures else other_scores(signature, one.pictures, *shown_to_both)
    if not _has_near_ties(sides, trained):
        failures, others = others or failures, []
    open_questions = [] if failures else _open_questions(model, noise, trained, one)
    open_questions += [f"Not decided: {line}; near-ties may explain that, or may not." for line in others]
    if is_rounded and trained and accuracy is None:
        open_questions.append(_UNMEASURED)
    notes += open_questions + _notes_on_ranges(sides)
    preprocessing: PreprocessingDifference | None = None
    deployed: Agreements = ()
    if one.signature.takes_picture and two.signature.takes_picture:
        preprocessing = _difference_of_inputs(folders)
        deployed = compared(one.pictures, True, PICTURES, PICTURES)
        if not failures:  # else the networks explain it
            names = ", ".join(side.preprocessing or "default" for side in sides)
            failures += [f"the preprocessings differ ({names}): {line}" for line in wrong(deployed)]
    else:
        notes.append(
            f"Compared on {one.pictures}; the preprocessing was not compared, as the networks do not take one picture."
        )
    return ComparedAnswers(
        model=model,
        noise=noise,
        deployed=deployed,
        preprocessing=preprocessing,
        accuracy=accuracy,
        failures=tuple(failures),
        notes=tuple(notes),
        undecided=bool(open_questions),
    )


def _has_near_ties(sides: tuple[Side, Side], trained: bool) -> bool:
    """Whether rounding may part the two: TensorFlow computes a trained network alike from all of its own formats."""
    return not trained or any(side.kind == "tflite" for side in sides)


_UNTRAINED = (
    "A network is untrained: near-ties are frequent, so no minimum agreement is required; what is proven to be no "
    "near-tie is a failure."
)
_UNEXPLAINED = (
    "Not decided: the untrained network answers some pictures otherwise, and nothing shows whether near-ties alone "
    "explain that. Verify it again once it is trained."
)
_UNMEASURED = (
    "Not decided: weights in fewer bits change single answers, and what that costs is measured on labelled pictures "
    "only. Name the network's dataset with --dataset."
)


def _open_questions(model: Agreements, noise: Agreements, trained: bool, one: Side) -> list[str]:
    """What the answers to the same inputs do not decide."""
    questions = [_UNEXPLAINED] if any(is_undecided(each, trained) for each in (*model, *noise)) else []
    if any(all(each.is_constant for each in of_output) for of_output in zip(model, noise, strict=True)):
        alike = f"{one.path} answers everything that it was shown alike"
        questions.append(f"Not decided: {alike}, so that equal answers prove nothing.")
    return questions


def _notes_on_ranges(sides: tuple[Side, Side]) -> list[str]:
    return [
        f"{side.path} does not say what range of values it wants: photographs and noise were of -1 to 1. "
        "Name its preprocessing with --preprocess-fn."
        for side in sides
        if not side.preprocessing and side.signature.takes_picture
    ]


def _difference_of_inputs(folders: list[Path]) -> PreprocessingDifference:
    (pictures,), (others,) = (load_arrays(folder, f"{PICTURES}_inputs") for folder in folders)
    difference = np.abs(pictures - others)
    return PreprocessingDifference(float(difference.max()), float(difference.mean()))


def _accuracy(signature: Signature, source: str, folders: list[Path]) -> Accuracy | None:
    """Top-1 of both, each with its own preprocessing; None without labels, or where no output names a class."""
    labels = load_arrays(folders[0], LABELS) or load_arrays(folders[1], LABELS)  # of the same pictures
    if not labels or not signature.answers_scores or not signature.outputs[0].names_class:
        return None
    (reference,), (scores,) = (load_arrays(folder, f"{PICTURES}_outputs") for folder in folders)
    return measure_accuracy(Pictures(source, True, (), labels=labels[0]), reference, scores)


def _traced(
    compared: list[tuple[Agreement, ...]], request: RunRequest, sides: tuple[Side, Side], folders: list[Path]
) -> list[tuple[Agreement, ...]]:
    """The agreements with their disagreements traced, where one side is a Keras file and the other a flatbuffer.

    Args:
        compared: For each of `_SHOWN_TO_BOTH`, the agreement of every output.
        request: Of the first side.
        sides: Both artifacts.
        folders: What each of them was shown and answered.
    """
    kinds = [side.kind for side in sides]
    is_traceable = sorted(kinds) == ["keras", "tflite"] and all(len(side.inputs) == 1 for side in sides)
    if not is_traceable or not any(each.disagreements for agreements in compared for each in agreements):
        return compared
    keras = kinds.index("keras")
    trace = TraceRequest(
        keras_file=sides[keras].path,
        flatbuffer=sides[1 - keras].path,
        pixel_preprocessing=artifact.pixel_preprocessing(sides[1 - keras].path),
        custom=request.custom,
        inputs_folder=str(folders[0]),
        inputs=tuple(f"{shown[0]}_inputs" for shown in _SHOWN_TO_BOTH),
        answers_folder=str(folders[keras]),
        answers=tuple(f"{shown[keras]}_outputs" for shown in _SHOWN_TO_BOTH),
        compared=tuple(tuple(map(dataclasses.asdict, agreements)) for agreements in compared),
    )
    return trace_in_child(trace, TIMEOUT_S)


def _signature_of_both(one: Side, two: Side, places: list[int]) -> Signature:
    """The first one's signature; what the second one tells of its outputs, at those places, is true of both."""
    others = [two.outputs[place] for place in places]
    outputs = tuple(
        dataclasses.replace(output, names_class=output.names_class or other.names_class)
        for output, other in zip(one.outputs, others, strict=True)
    )
    return Signature(one.inputs, outputs)
