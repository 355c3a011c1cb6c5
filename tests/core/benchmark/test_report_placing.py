"""Labels of a scatter plot can be told to be of their marks, at the width they are placed for and at larger ones."""

import itertools
import math

import numpy as np
import pytest

from bopkit.benchmark.reports.placing import BESIDE, CHARACTER, LINE_HEIGHT, MARK, Box, Label, place_labels

WIDTH, HEIGHT = 590, 326
AREA = Box(0, 0, WIDTH, HEIGHT)


def scattered(count, seed):
    """Marks and texts, some of them close to others."""
    rng = np.random.default_rng(seed)
    places = rng.uniform((60, 20), (WIDTH - 20, HEIGHT - 20), (count, 2))
    places[count // 2 :] = places[: count - count // 2] + rng.uniform(-9, 9, (count - count // 2, 2))
    texts = [[f"{number} network {number}.tflite", str(number)] for number in range(count)]
    return [(float(x), float(y)) for x, y in places], texts


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("growth", [1.0, 1.4, 2.1])
def test_labels_meet_neither_marks_nor_one_another(seed, growth):
    marks, texts = scattered(12, seed)
    labels = place_labels(marks, texts, [], AREA)
    grown = [(growth * x, y) for x, y in marks]
    boxes = [label.box(mark) for label, mark in zip(labels, grown, strict=True)]
    placed = zip(labels, marks, strict=True)
    has_place = [label.leader is not None or is_alone(label, mark, marks) for label, mark in placed]
    assert sum(has_place) >= 10
    for first, second in itertools.permutations(range(12), 2):
        if growth > 1 and max(abs(a - b) for a, b in zip(marks[first], marks[second], strict=True)) < 2 * MARK:
            continue  # marks that lie over each other: only their labels at the first width are apart
        x, y = grown[second]
        if has_place[first]:
            assert not boxes[first].meets(Box(x - MARK, y - MARK, x + MARK, y + MARK)), (first, second)
        if has_place[first] and has_place[second]:
            assert not boxes[first].meets(boxes[second]), (first, second)


def is_alone(label, mark, marks):
    """Whether a label beside a mark is not put there for want of any place."""
    box = label.box(mark)
    others = [Box(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in marks if (x, y) != mark]
    return AREA.holds(box) and not any(box.meets(other) for other in others)


@pytest.mark.parametrize("seed", range(8))
def test_a_label_without_a_line_is_nearest_to_its_own_mark(seed):
    marks, texts = scattered(12, seed)
    for label, mark in zip(place_labels(marks, texts, [], AREA), marks, strict=True):
        if label.leader is None and is_alone(label, mark, marks):
            box = label.box(mark)
            nearest = min(marks, key=lambda each: distance(box, each))
            assert distance(box, mark) <= distance(box, nearest) + 2 * MARK


def distance(box, place):
    return math.hypot(
        max(box.left - place[0], 0, place[0] - box.right), max(box.top - place[1], 0, place[1] - box.bottom)
    )


def test_a_single_label_stands_beside_its_mark():
    (label,) = place_labels([(100, 100)], [["1 a", "1"]], [], AREA)
    assert label == Label("1 a", BESIDE, 0.0) and label.leader is None
    (label,) = place_labels([(WIDTH - 12, 100)], [["1 a", "1"]], [], AREA)
    assert label == Label("1 a", -BESIDE, 0.0)


def test_labels_of_one_place_have_lines_that_lead_to_it():
    labels = place_labels([(300, 100)] * 5, [[f"{number} a network", str(number)] for number in range(5)], [], AREA)
    assert len({(label.right, label.down) for label in labels}) == 5
    assert sum(label.leader is None for label in labels) >= 2 and any(label.leader for label in labels)


def test_a_label_rather_stands_above_a_line_than_on_it():
    (label,) = place_labels([(100, 100)], [["1 a", "1"]], [((0, 100), (400, 100))], AREA)
    assert label.leader is None and label.box((100, 100)).bottom < 100


def test_a_name_without_room_is_left_out_and_the_number_stays():
    name = "1 " + "a" * (int(WIDTH / CHARACTER) + 1)
    (label,) = place_labels([(100, 100)], [[name, "1"]], [], AREA)
    assert label.text == "1"
    tight = Box(100 - 12, 100 - LINE_HEIGHT, 100 + 12, 100 + LINE_HEIGHT)
    assert place_labels([(100, 100)], [["1 a", "1"]], [], tight) == [Label("1", BESIDE, 0.0)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ((0, 0), (10, 10), True),
        ((0, 5), (10, 5), True),
        ((5, 5), (5, 5), True),
        ((0, 0), (3, 3), False),
        ((0, 8), (10, 8), False),
        ((0, 10), (3, 0), False),
    ],
)
def test_whether_a_line_crosses_a_box(start, end, expected):
    assert Box(4, 4, 6, 6).is_crossed_by((start, end)) is expected
