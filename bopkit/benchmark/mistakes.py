"""Pictures of what a network gets wrong: the confusion matrix, and a sheet of the pictures that are most wrong.

Matplotlib is imported inside functions, without pyplot: nothing global is touched.
"""

from __future__ import annotations

import heapq
import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bopkit.data import Preprocessing
from bopkit.errors import UsageError
from bopkit.figures import FORMATS, printable_label, write_figure
from bopkit.metrics import are_probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Confusion = Sequence[tuple[int, int, int]]
"""Class, predicted class and number of pictures of each pair that occurs."""

NUMBERED_CLASSES = 20
"""Classes up to which the cells of the matrix have room for numbers."""

MATRIX_CLASSES = 40
"""Classes up to which the matrix has room for names; of more the pairs that are confused most are drawn."""

CELL_IN = 0.42
PAIRS = 30
SHEET_PICTURES, SHEET_COLUMNS = 24, 6
NAME_CHARACTERS = 24
CHARACTERS_AN_INCH = 13
"""Of a title."""
BARS, DARK_SHARE = "#0072B2", 0.5


class Mistake(NamedTuple):
    """A picture that is predicted wrongly.

    Attributes:
        confidence: Probability that the network gives the class that it predicts.
        place: Of the picture among those that were evaluated, from 0, with a minus: of equal ones the first counts.
        label: Its class.
        predicted: The class that is predicted.
        pixels: uint8 [H, W, C], as the network sees it.
    """

    confidence: float
    place: int
    label: int
    predicted: int
    pixels: np.ndarray

    def record(self) -> dict[str, int | float]:
        """As plain JSON values, without the pixels."""
        return {
            "picture": -self.place,
            "label": self.label,
            "predicted": self.predicted,
            "confidence": self.confidence,
        }


class MostWrong:
    """Keeps the mistakes of which a network is surest; memory does not grow with the number of pictures.

    Args:
        preprocessing: Made the pictures.
        count: How many to keep.
    """

    def __init__(self, preprocessing: Preprocessing, count: int = SHEET_PICTURES):
        self._preprocessing = preprocessing
        self._count = count
        self._heap: list[Mistake] = []  # the least sure of the kept ones first
        self._seen = 0
        self._has_softmax: bool | None = None

    def add(self, pictures: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        """Look at a batch; scores that are no probabilities go through a softmax.

        Args:
            pictures: float32 [n, H, W, C], as the network sees them.
            scores: float32 [n, classes].
            labels: int64 [n].
        """
        if self._has_softmax is None:
            self._has_softmax = are_probabilities(scores)
        predicted = scores.argmax(axis=1)
        confidence = scores.max(axis=1).astype(np.float64)
        if not self._has_softmax:
            confidence = 1 / np.exp(scores - confidence[:, None]).sum(axis=1, dtype=np.float64)
        for row in np.flatnonzero(predicted != labels).tolist():
            order = (float(confidence[row]), -(self._seen + row))
            if len(self._heap) == self._count and order < self._heap[0][:2]:
                continue
            pixels = self._preprocessing.to_pixels(pictures[row])
            mistake = Mistake(*order, int(labels[row]), int(predicted[row]), pixels)
            if len(self._heap) < self._count:
                heapq.heappush(self._heap, mistake)
            else:
                heapq.heapreplace(self._heap, mistake)
        self._seen += len(labels)

    @property
    def mistakes(self) -> list[Mistake]:
        """The surest first."""
        return sorted(self._heap, key=lambda each: each[:2], reverse=True)


def check_figure_file(file: Path | None, option: str) -> None:
    """Refuse a file name before the work that ends with it.

    Raises:
        UsageError: It has not the ending of a format that can be drawn.
    """
    if file is not None and file.suffix not in FORMATS:
        raise UsageError(f"{file} is not the name of a picture.", f"End {option} in one of {', '.join(FORMATS)}.")


def draw_confusion(confusion: Confusion, names: Sequence[str], title: str, target: Path) -> None:
    """Draw how often each class is predicted as each: as a matrix, or where that has no room its largest mistakes.

    Args:
        confusion: As `bopkit.metrics.confusion` returns it.
        names: Of the classes.
        title: Above it.
        target: `.png`, `.svg` or `.pdf`; it appears whole or not at all.
    """
    from matplotlib.figure import Figure

    shown = [printable_label(name)[:NAME_CHARACTERS] for name in names]
    classes, longest = len(names), max(map(len, shown))
    if classes > MATRIX_CLASSES:
        figure = Figure((7.5, 7.5), layout="constrained")
        title = f"{title}\n{_draw_pairs(figure.subplots(), confusion, shown)}"
    else:
        side = max(3.6, min(classes, NUMBERED_CLASSES) * CELL_IN)
        figure = Figure((side + 0.07 * longest + 1.7, side + 0.07 * longest + 0.8), layout="constrained")
        _draw_matrix(figure.subplots(), confusion, shown)
    _draw_title(figure, title)
    write_figure(figure, [target])


def _draw_title(figure: Figure, title: str) -> None:
    width = int(CHARACTERS_AN_INCH * figure.get_figwidth())
    lines = [textwrap.fill(printable_label(line), width) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9, parse_math=False)


def _draw_matrix(axes: Axes, confusion: Confusion, names: Sequence[str]) -> None:
    classes = len(names)
    counts = np.zeros((classes, classes), np.int64)
    for label, predicted, count in confusion:
        counts[label, predicted] = count
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    is_numbered = classes <= NUMBERED_CLASSES
    for label, predicted in itertools.product(range(classes), repeat=2) if is_numbered else ():
        if count := int(counts[label, predicted]):
            colour = "white" if shares[label, predicted] > DARK_SHARE else "black"
            size = 8 if count < 10_000 else 6
            axes.text(predicted, label, str(count), ha="center", va="center", fontsize=size, color=colour)
    size = 8 if is_numbered else 7
    rotation = 0 if max(map(len, names)) <= 2 else 90
    axes.set_xticks(range(classes), names, fontsize=size, rotation=rotation, parse_math=False)
    axes.set_yticks(range(classes), names, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted class", fontsize=9)
    axes.set_ylabel("true class", fontsize=9)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.7)
    bar.set_label("pictures of the true class (%)", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _draw_pairs(axes: Axes, confusion: Confusion, names: Sequence[str]) -> str:
    """Draw the pairs of classes that are confused most, and say how many that are of all."""
    from matplotlib.ticker import MaxNLocator

    of_class = np.zeros(len(names), np.int64)
    for label, _, count in confusion:
        of_class[label] += count
    wrong = [each for each in confusion if each[0] != each[1]]
    pairs = sorted(wrong, key=lambda each: (-each[2], each[:2]))[:PAIRS]
    places = range(len(pairs))
    axes.barh(places, [count for *_, count in pairs], color=BARS, height=0.7)
    for place, (label, _, count) in zip(places, pairs, strict=True):
        axes.text(count, place, f" {count} of {of_class[label]}", va="center", fontsize=7)
    texts = [f"{names[label]} as {names[predicted]}" for label, predicted, _ in pairs]
    axes.set_yticks(places, texts, fontsize=7, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("pictures of a class that are predicted as another", fontsize=9)
    return f"the {len(pairs)} most frequent of {len(wrong):,} pairs of classes that are confused"


def draw_most_wrong(mistakes: Sequence[Mistake], names: Sequence[str], title: str, target: Path) -> None:
    """Draw a sheet of pictures that are predicted wrongly, each with its class and the predicted one.

    Args:
        mistakes: In the order of the sheet.
        names: Of the classes.
        title: Above it.
        target: `.png`, `.svg` or `.pdf`; it appears whole or not at all.
    """
    from matplotlib.figure import Figure

    down = max(1, -(-len(mistakes) // SHEET_COLUMNS))
    figure = Figure((1.75 * SHEET_COLUMNS, 2.15 * down + 0.5), layout="constrained")
    _draw_title(figure, title)
    for axes in (panels := figure.subplots(down, SHEET_COLUMNS, squeeze=False)).flat:
        axes.set_axis_off()
    shown = [printable_label(name)[:NAME_CHARACTERS] for name in names]
    for axes, mistake in zip(panels.flat, mistakes, strict=False):
        axes.imshow(mistake.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        text = (
            f"{-mistake.place}: {shown[mistake.label]}\nas {shown[mistake.predicted]}\n{100 * mistake.confidence:.1f} %"
        )
        axes.set_title(text, fontsize=8, parse_math=False)
    if not mistakes:
        figure.text(0.5, 0.4, "No picture is predicted wrongly.", ha="center", fontsize=10)
    write_figure(figure, [target])
