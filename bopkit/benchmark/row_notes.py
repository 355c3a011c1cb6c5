"""The notes of rows, one sentence each: runs cut short or slowed down, and what to know of a row's dataset."""

from __future__ import annotations

import numpy as np

from bopkit.artifacts.card import ModelCard
from bopkit.benchmark.accuracy import are_numbers
from bopkit.benchmark.job import EvaluationPlan, Timing
from bopkit.benchmark.results import BenchmarkRow

_SLOWDOWN = 1.2  # of the last quarter over the first, from which it is noted
_SHORTEST_QUARTER = 5


def add_timing_notes(row: BenchmarkRow, timing: Timing) -> None:
    """Note fewer runs than were asked for, a lowered clock, and runs that became slower."""
    if row.runs is not None and row.runs < timing.runs:
        row.notes.append(f"{row.runs} of {timing.runs} runs fitted into the limit of {timing.time_limit_s:g} s.")
    temperatures = (row.temperature_c_before, row.temperature_c_after)
    heat = "" if None in temperatures else " ({:.0f} degrees Celsius before, {:.0f} after)".format(*temperatures)
    if row.is_throttled:
        row.notes.append(f"The clock was lowered during the runs because of heat or power{heat}. {_COOL}")
    ratio = slowdown(row.samples_ms)
    if ratio > _SLOWDOWN:
        row.notes.append(f"The last quarter of the runs took {ratio:.2f} times as long as the first{heat}. {_COOL}")


def slowdown(samples_ms: list[float]) -> float:
    """Median of the last quarter of the runs, divided by that of the first quarter.

    Args:
        samples_ms: Each timed run, in order.

    Returns:
        The ratio; 1 for fewer than 20 runs, which are too few to tell.
    """
    quarter = len(samples_ms) // 4
    if quarter < _SHORTEST_QUARTER:
        return 1.0
    return float(np.median(samples_ms[-quarter:]) / np.median(samples_ms[:quarter]))


_COOL = "Cool the device, or pause between rows with --cool-down."


def dataset_suggestion(dataset: str) -> str:
    """The note of a row without accuracy: which dataset to name for it."""
    return _SUGGESTION.format(dataset)


def is_dataset_suggestion(note: str) -> bool:
    """Whether a note is a `dataset_suggestion`: it is dropped when the row gets an accuracy from another result."""
    return _is_made_of(_SUGGESTION, note)


def trained_on_note(dataset: str) -> str:
    """The note of an accuracy that was measured on another dataset than the card names."""
    return _TRAINED_ON.format(dataset)


def training_data_note(card: ModelCard | None, evaluation: EvaluationPlan) -> str:
    """What is to be known of an accuracy on pictures that a network was not trained beside; empty where it was.

    That is another dataset than the card names, or the same one with other pictures: where files were added to a
    folder, its test split may have pictures now that the network was trained on.
    """
    if card is None or not card.dataset:
        return ""
    if card.dataset != evaluation.dataset_name:
        is_open = are_numbers(card.class_names) != are_numbers(evaluation.class_names)
        return trained_on_note(card.dataset) + (_NUMBERED if is_open else "")
    is_known = card.dataset_identity and evaluation.dataset_identity
    return _CHANGED.format(card.dataset) if is_known and card.dataset_identity != evaluation.dataset_identity else ""


def is_trained_on_note(note: str) -> bool:
    """Whether a note is a `training_data_note`: it goes with the accuracy to whichever row that is copied to."""
    return _is_made_of(_TRAINED_ON, note.removesuffix(_NUMBERED)) or _is_made_of(_CHANGED, note)


def _is_made_of(template: str, note: str) -> bool:
    start, _, end = template.partition("{}")
    return note.startswith(start) and note.endswith(end)


_SUGGESTION = "Add --dataset {} for its accuracy."
_TRAINED_ON = "It was trained on {}."
_NUMBERED = " One of the two numbers its classes: nothing shows whether they are the same."
_CHANGED = "The pictures of {} have changed since it was trained: it may have been trained on some that were measured."
