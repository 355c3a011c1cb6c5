"""What agrees and what does not, by what an output is: classes, one probability, values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bopkit.export.checks.scores import (
    agreement_failures,
    compare_output,
    compare_outputs,
    is_undecided,
    rule_failures,
)
from bopkit.export.network.signature import Signature
from bopkit.export.pictures import Pictures
from bopkit.export.report import Accuracy, Agreement

COUNT = 200
PICTURES = Pictures("photographs", True, (np.zeros((COUNT, 1)),))
NOISE = dataclasses.replace(PICTURES, real=False)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (COUNT, *shape)).astype(np.float32)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-values))).astype(np.float32)


def failures_of_values(reference: np.ndarray, values: np.ndarray) -> list[str]:
    return agreement_failures(compare_output(PICTURES, reference, values, names_class=False), trained=None)


WRONG = {
    "a probability is one less the other": (sigmoid(draw(1)), lambda p: 1 - p),
    "a probability near one half": (0.5 + 1e-4 * draw(1), lambda p: 1 - p),
    "several labels in each other's place": (sigmoid(draw(3)), lambda p: p[:, [1, 0, 2]]),
    "a box elsewhere": (0.1 * draw(4) + (0, 10, 20, 900), lambda box: box + (300, -510, 50, 0)),
    "one small coordinate beside a large one": (0.1 * draw(2) + (1, 900), lambda box: box * (1.05, 1)),
    "a small error of a large coordinate": (draw(1) + 900, lambda box: box * 1.0001),
    "small numbers": (1e-7 * draw(2), lambda values: -values),
    "a value that should always be the same": (draw(2) * (1, 0) + (0, 5), lambda values: values + (0, 1)),
    "a channel of a map": (draw(3, 3, 2), lambda maps: maps * (1, 0.9)),
    "every tenth picture": (draw(2), lambda values: values * (np.arange(COUNT) % 10 > 0)[:, np.newaxis]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_fail(name: str) -> None:
    reference, change = WRONG[name]
    reference = reference.astype(np.float32)
    assert failures_of_values(reference, change(reference).astype(np.float32))


@pytest.mark.parametrize("names_class", [False, True])
@pytest.mark.parametrize("pictures", [PICTURES, NOISE], ids=["photographs", "noise"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_number_that_is_none_fails_in_every_network(number: float, pictures: Pictures, names_class: bool) -> None:
    reference = draw(3)
    reference[:, 0] += 10  # the class that the largest of a row of NaN is taken for
    scores = reference.copy()
    scores[7] = number
    agreement = compare_output(pictures, reference, scores, names_class)
    for trained in (True, False, None):
        (failure,) = agreement_failures(agreement, trained)
        assert "NaN or infinite" in failure


RIGHT = {
    "the same": (draw(4), lambda values: values),
    "rounding": (draw(4) * 1000, lambda values: values * (1 + 2e-7)),
    "one picture whose sign fell on the other side": (
        draw(4),
        lambda values: values + 0.5 * (np.arange(COUNT) == 7)[:, None],
    ),
    "a value that is always 0": (draw(2) * (1, 0), lambda values: values + (0, 1e-8)),
    "one number without an axis": (draw(), lambda values: values),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_values_pass(name: str) -> None:
    reference, change = RIGHT[name]
    reference = reference.astype(np.float32)
    assert failures_of_values(reference, change(reference).astype(np.float32)) == []


def test_a_single_probability_has_a_side_and_other_outputs_have_none() -> None:
    reference = sigmoid(draw(1))
    other_side = reference.copy()
    other_side[:3] = 1 - other_side[:3]
    assert compare_output(PICTURES, reference, other_side, False).same_side == 1 - 3 / COUNT
    for values in (draw(1) * 100, sigmoid(draw(2))):
        assert compare_output(PICTURES, values, values, False).same_side is None


def test_an_output_names_a_class_only_where_somebody_says_so() -> None:
    """Of ten sigmoids or coordinates the largest says nothing; a softmax is seen, and class names are known."""
    signature = Signature.from_shapes([("images", (8, 8, 3))], [("scores", (10,))])
    sigmoids, probabilities = sigmoid(draw(10)), np.full((COUNT, 10), 0.1, np.float32)
    assert signature.with_probabilities([sigmoids]).outputs[0].names_class is False
    assert signature.with_probabilities([probabilities]).outputs[0].names_class is True
    assert signature.with_classes(10).with_probabilities([sigmoids]).outputs[0].names_class is True
    assert signature.with_classes(9).outputs[0].names_class is False
    assert (
        Signature.from_shapes([("images", (8, 8, 3))], [("score", (1,))]).with_classes(1).outputs[0].names_class
        is False
    )
    (agreement,) = compare_outputs(signature, PICTURES, [sigmoids], [sigmoids])
    assert agreement.top1 is None
    (agreement,) = compare_outputs(signature.with_classes(10), PICTURES, [sigmoids], [sigmoids])
    assert agreement.top1 == 1.0


def traced(agreement: Agreement, near_ties: int) -> Agreement:
    """The agreement as a trace leaves it that finds so many near-ties, and that the others are none."""
    found = [
        dataclasses.replace(each, traced=True, near_tie=index < near_ties, first_layer="conv")
        for index, each in enumerate(agreement.disagreements[:16])
    ]
    return dataclasses.replace(agreement, disagreements=(*found, *agreement.disagreements[16:]))


@pytest.mark.parametrize("shown", [PICTURES, NOISE])
@pytest.mark.parametrize("trained", [True, None, False])
def test_what_is_proven_counts_for_every_network_and_input(shown: Pictures, trained: bool | None) -> None:
    expected = np.tile(np.array([0.6, 0.4], np.float32), (COUNT, 1))
    scores = expected.copy()
    scores[:40] = scores[:40, ::-1]
    agreement = compare_output(shown, expected, scores)
    (*_, line) = agreement_failures(traced(agreement, near_ties=0), trained)
    assert line.startswith("16 of 16 traced disagreements with Keras on 200 pictures") and "enter conv" in line
    if trained is False or not shown.real:
        assert agreement_failures(traced(agreement, near_ties=16), trained) == []
        assert agreement_failures(agreement, trained) == []
    assert is_undecided(agreement, trained) is (trained is False)


def test_values_that_differ_are_traced_from_the_largest_difference_on() -> None:
    reference = draw(4)
    values = reference.copy()
    values[[3, 5], 1] += (0.5, 2.0)
    found: Any = compare_output(PICTURES, reference, values, False).disagreements
    assert [(each.picture, each.keras_class) for each in found] == [(5, None), (3, None)]
    assert [each.score_margin for each in found] == pytest.approx([2.0, 0.5])


def test_max_drop_is_one_rule_for_exact_weights_and_for_fewer_bits() -> None:
    """Of 200 pictures 2 get another class: 1 point, whether each counts as lost or accuracy falls by as much."""
    reference = np.eye(2, dtype=np.float32)[np.zeros(COUNT, int)]
    scores = reference.copy()
    scores[:2] = scores[:2, ::-1]
    agreement = compare_output(PICTURES, reference, scores)
    accuracy = Accuracy("labelled pictures", COUNT, before=0.9, after=0.89)
    for is_rounded in (False, True):
        (line,) = rule_failures([agreement], accuracy, is_rounded, True, max_drop=0.5)
        assert "--max-drop" in line and "0.5" in line
        assert rule_failures([agreement], accuracy, is_rounded, True, max_drop=1.0) == []
        assert rule_failures([agreement], accuracy, is_rounded, False, max_drop=0.5) == []
    assert rule_failures([agreement], None, True, True, max_drop=0.5) == []  # nobody knows what is lost
