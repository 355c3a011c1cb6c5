"""Where the labels of a scatter plot go, so that each can be told to be of its mark.

A label beside its mark speaks for itself; one further away has a line that leads to it. No label and no such line
meets another mark, label or line, at the width that they are placed for and at every larger one: there marks move apart
across, and labels with them. So whatever belongs to a mark is left of whatever belongs to a mark further right, where
the two are at one height. All places are in pixels, right and down.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

Place: TypeAlias = tuple[float, float]
Segment: TypeAlias = tuple[Place, Place]

LINE_HEIGHT, CHARACTER = 15.0, 6.7
"""Of a label; a character is as wide as the average one."""

MARK, BESIDE = 7.0, 10.0
"""From a mark's centre to its edge, and to a label beside it."""

A_LITTLE = 9.0
"""How far up or down a label beside its mark may be, so that it lies above or below a line through that."""

CROSSING = 40.0
"""How much further away a label may go for not lying over a line of the plot, or on another mark's side."""


class Box(NamedTuple):
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: Box) -> bool:
        """Whether the other is inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )

    def meets(self, other: Box) -> bool:
        """Whether the two have an area in common."""
        return self.is_beside(other) and self.left < other.right and other.left < self.right

    def is_beside(self, other: Box) -> bool:
        """Whether some of both is at one height."""
        return self.top < other.bottom and other.top < self.bottom

    def is_crossed_by(self, line: Segment) -> bool:
        """Whether a line touches it, by what of the line is between its edges (Liang and Barsky)."""
        enters, leaves = 0.0, 1.0
        for place, end, low, high in zip(*line, (self.left, self.top), (self.right, self.bottom), strict=True):
            step = end - place
            if step == 0:
                if not low <= place <= high:
                    return False
                continue
            first, last = sorted(((low - place) / step, (high - place) / step))
            enters, leaves = max(enters, first), min(leaves, last)
        return enters <= leaves


class Label(NamedTuple):
    """Where a label goes, seen from its mark.

    Attributes:
        text: What it says.
        right: To its nearer end; negative for a label that ends left of the mark.
        down: To the middle of its height.
    """

    text: str
    right: float
    down: float

    @property
    def leader(self) -> Place | None:
        """Where the line from the mark ends; None for a label beside it, which needs none."""
        if abs(self.right) <= BESIDE and abs(self.down) <= A_LITTLE:
            return None
        return self.right - math.copysign(2, self.right), self.down

    def box(self, mark: Place) -> Box:
        """What it covers, for the centre of its mark."""
        end = mark[0] + self.right
        width = len(self.text) * CHARACTER
        left, middle = (end if self.right > 0 else end - width), mark[1] + self.down
        return Box(left, middle - LINE_HEIGHT / 2, left + width, middle + LINE_HEIGHT / 2)


def place_labels(
    marks: Sequence[Place], texts: Sequence[Sequence[str]], lines: Sequence[Segment], area: Box
) -> list[Label]:
    """Find a place for the label of each mark.

    Args:
        marks: Centres.
        texts: Of each mark, what its label may say, the best first; the last must be short.
        lines: Of the plot: a label may lie over one, but rather goes a little further away.
        area: What labels stay in.

    Returns:
        One a mark. The last text of a mark that has no place at all stands beside it, whatever is there.
    """
    plan = _Plan(marks)
    for mark, choices in zip(marks, texts, strict=True):
        found = (plan.nearest(text, mark, lines, area) for text in choices)
        plan.add(next(filter(None, found), Label(choices[-1], BESIDE, 0.0)), mark)
    return plan.labels


class _Taken(NamedTuple):
    """What lies somewhere: a mark, its label, or the line between the two, which is then named besides its box."""

    mark: Place
    box: Box
    line: Segment | None = None
    is_mark: bool = False


class _Plan:
    """The labels that have a place already."""

    def __init__(self, marks: Iterable[Place]):
        self.labels: list[Label] = []
        self._marks = [
            _Taken((x, y), Box(x - MARK, y - MARK, x + MARK, y + MARK), is_mark=True) for x, y in dict.fromkeys(marks)
        ]
        self._taken: list[_Taken] = []

    def add(self, label: Label, mark: Place) -> None:
        """Take a place."""
        self.labels.append(label)
        self._taken += _parts(label, mark)

    def nearest(self, text: str, mark: Place, lines: Sequence[Segment], area: Box) -> Label | None:
        """The place that is nearest to the mark; None for none."""
        best, least = None, math.inf
        for offset in _OFFSETS:
            distance = math.hypot(*offset)
            if distance >= least:
                break
            label = Label(text, *offset)
            box = label.box(mark)
            if not area.holds(box) or not self._has_room(label, mark):
                continue
            cost = distance + CROSSING * (sum(map(box.is_crossed_by, lines)) + self._marks_towards(label, mark))
            if cost < least:
                best, least = label, cost
        return best

    def _marks_towards(self, label: Label, mark: Place) -> int:
        """How many marks that lie over this one are on the label's side."""
        return sum((each.mark[0] - mark[0]) * label.right > 0 for each in self._marks if _lie_together(each.mark, mark))

    def _has_room(self, label: Label, mark: Place) -> bool:
        own, *leader = _parts(label, mark)
        far = [own.box, *(each.box for each in leader)]
        if not leader:  # or one could take it for the label of another mark, at its other end
            far = [own.box._replace(left=own.box.left - BESIDE, right=own.box.right + BESIDE)]
            if self._marks_towards(label, mark):
                return False
        for each in (*self._marks, *self._taken):
            if _lie_together(each.mark, mark):
                if not _are_apart(own, leader, each):
                    return False
            elif not all(_is_on_its_side(box, mark, each) for box in far):
                return False
        return True


def _lie_together(mark: Place, other: Place) -> bool:
    return max(abs(mark[0] - other[0]), abs(mark[1] - other[1])) < 2 * MARK


def _parts(label: Label, mark: Place) -> list[_Taken]:
    """The label, and the line to it where there is one."""
    label_itself = _Taken(mark, label.box(mark))
    if label.leader is None:
        return [label_itself]
    (x, y), (right, down) = mark, label.leader
    box = Box(x + min(right, 0), y + min(down, 0), x + max(right, 0), y + max(down, 0))
    return [label_itself, _Taken(mark, box, (mark, (x + right, y + down)))]


def _are_apart(own: _Taken, leader: Sequence[_Taken], other: _Taken) -> bool:
    """Whether a label and its line are apart from something of a mark that lies over their own, at this width."""
    if other.line is not None:
        return not own.box.is_crossed_by(other.line)
    is_crossed = any(each.line is not None and other.box.is_crossed_by(each.line) for each in leader)
    return not own.box.meets(other.box) and (other.is_mark or not is_crossed)


def _is_on_its_side(box: Box, mark: Place, other: _Taken) -> bool:
    """Whether what belongs to a mark stays apart from something else when marks move apart across."""
    if not box.is_beside(other.box):
        return True
    if mark[0] < other.mark[0]:
        return box.right <= other.box.left
    return box.left >= other.box.right if mark[0] > other.mark[0] else not box.meets(other.box)


_OFFSETS = sorted(
    itertools.product(
        (side * (BESIDE + 12 * step) for side in (1, -1) for step in range(9)),
        (A_LITTLE, -A_LITTLE, *(LINE_HEIGHT * step for step in range(-9, 10))),
    ),
    key=lambda offset: (math.hypot(*offset), offset[1], -offset[0]),
)
"""The nearest first; of these, above before below and right before left."""
