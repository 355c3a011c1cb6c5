"""The confusion matrix and the sheet of the most wrong pictures show what `evaluate` found."""

import dataclasses

import numpy as np
import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.benchmark.evaluate import evaluate_model
from bopkit.benchmark.mistakes import MATRIX_CLASSES, PAIRS, MostWrong, draw_confusion, draw_most_wrong
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import confusion

SHAPE = (8, 8, 1)
PREPROCESSING = get_preprocessing("resize", SHAPE)
NAMES = tuple(f"digit ${name}$" for name in ("zero", "one", "two", "three", "four", "five", "six", "seven", "8", "9"))


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written, by the names of their files."""
    kept = {}
    monkeypatch.setattr(
        "bopkit.benchmark.mistakes.write_figure", lambda figure, targets: kept.update({targets[0].name: figure})
    )
    return kept


def scores_of(pictures=90, classes=4, scale=1.0):
    generator = np.random.default_rng(1)
    logits = scale * generator.normal(size=(pictures, classes)).astype(np.float32)
    return logits, generator.integers(0, classes, pictures), generator.uniform(-1, 1, (pictures, *SHAPE)).astype("f4")


def softmax(logits):
    shares = np.exp(logits.astype(np.float64))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("has_softmax", [True, False])
@pytest.mark.parametrize("batch", [90, 7])
def test_the_surest_mistakes_are_kept_whatever_the_batches(batch, has_softmax):
    logits, labels, pictures = scores_of()
    logits[60:] = logits[:30]  # equal confidences: the first counts
    scores = softmax(logits).astype(np.float32) if has_softmax else logits
    kept = MostWrong(PREPROCESSING, count=10)
    for begin in range(0, len(labels), batch):
        part = slice(begin, begin + batch)
        kept.add(pictures[part], scores[part], labels[part])
    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)
    confidence = softmax(logits).max(axis=1)
    expected = sorted(wrong, key=lambda place: (-np.float32(confidence[place]), place))[:10]
    assert [-mistake.place for mistake in kept.mistakes] == expected
    for place, mistake in zip(expected, kept.mistakes, strict=True):
        assert (mistake.label, mistake.predicted) == (labels[place], logits[place].argmax())
        assert mistake.confidence == pytest.approx(confidence[place], rel=1e-5)
        np.testing.assert_array_equal(mistake.pixels, PREPROCESSING.to_pixels(pictures[place]))


@pytest.mark.integration
def test_both_are_of_the_accuracy_that_is_told(tmp_path, figures):
    tf = import_tensorflow()
    layers = [tf.keras.layers.Input(SHAPE), tf.keras.layers.Flatten(), tf.keras.layers.Dense(10, "softmax")]
    network = tf.keras.Sequential(layers)
    card = ModelCard("tiny", SHAPE, (-1.0, 1.0), "resize", dataset="digits")
    # Names of the card, though the dataset numbers its classes.
    save_model(network, dataclasses.replace(card, class_names=tuple("0123456789")), tmp_path / "model.h5")
    files = {"confusion": tmp_path / "matrix.png", "most_wrong": tmp_path / "sheet.svg"}
    found = evaluate_model(tmp_path / "model.h5", limit=100, batch_size=30, **files)
    assert found.figures == tuple(map(str, files.values()))
    assert sum(count for *_, count in found.confusion) == 100
    assert sum(count for label, predicted, count in found.confusion if label == predicted) == round(100 * found.top1)
    matrix = figures["matrix.png"].axes[0]
    drawn = {(text.get_position()[1], text.get_position()[0]): int(text.get_text()) for text in matrix.texts}
    assert drawn == {(label, predicted): count for label, predicted, count in found.confusion}
    title = figures["matrix.png"]._suptitle.get_text()
    assert f"top-1 {100 * found.top1:.2f} % of 100 pictures" in " ".join(title.split())
    batches = evaluation_batches(open_dataset("digits"), "test", PREPROCESSING, 100, 100)
    pictures, labels = next(batches.as_numpy_iterator())
    scores = network.predict(pictures, verbose=0)
    wrong = np.where(scores.argmax(axis=1) != labels, scores.max(axis=1), 0)
    surest = int(wrong.argmax())
    first = figures["sheet.svg"].axes[0]
    assert first.get_title() == f"{surest}: {labels[surest]}\nas {scores[surest].argmax()}\n{100 * wrong[surest]:.1f} %"
    assert [found.mistakes[0][key] for key in ("picture", "label")] == [surest, labels[surest]]
    np.testing.assert_array_equal(first.images[0].get_array(), PREPROCESSING.to_pixels(pictures[surest])[..., 0])
    without = evaluate_model(tmp_path / "model.h5", limit=100)
    assert without.confusion == found.confusion and without.figures == without.mistakes == ()


def test_of_many_classes_the_most_frequent_mistakes_are_drawn(tmp_path, figures):
    classes = MATRIX_CLASSES + 1
    labels = np.repeat(np.arange(classes), 20)
    predicted = labels.copy()
    predicted[20:32] = 5  # 12 pictures of class 1
    predicted[0] = 40
    draw_confusion(confusion(predicted, labels), [f"c{n}" for n in range(classes)], "title", tmp_path / "pairs.png")
    (axes,) = figures["pairs.png"].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["c1 as c5", "c0 as c40"]
    assert [bar.get_width() for bar in axes.patches] == [12, 1]
    assert [text.get_text().strip() for text in axes.texts] == ["12 of 20", "1 of 20"]
    shuffled = np.random.default_rng(0).permutation(labels)
    draw_confusion(confusion(shuffled, labels), ["name"] * classes, "title", tmp_path / "many.png")
    assert len(figures["many.png"].axes[0].patches) == PAIRS


@pytest.mark.parametrize("classes", [2, 10, 30, 1000])
def test_no_texts_overlap(tmp_path, figures, classes):
    logits, labels, pictures = scores_of(2000, classes)
    names = [(NAMES[n % 10] + " and a long name " + "x" * 30)[: 5 + n % 40] for n in range(classes)]
    draw_confusion(confusion(logits.argmax(axis=1), labels), names, "a long title " * 20, tmp_path / "matrix.png")
    figure = figures["matrix.png"]
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for labels_of in (axes.get_xticklabels, axes.get_yticklabels):
        boxes = [each.get_window_extent() for each in labels_of() if each.get_text()]
        assert not any(box.overlaps(other) for box, other in zip(boxes, boxes[1:], strict=False))
    for box in (figure._suptitle.get_window_extent(), *(each.get_tightbbox() for each in figure.axes)):
        assert -1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 and -1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1
    assert not figure._suptitle.get_window_extent().overlaps(axes.get_tightbbox())


def test_a_network_without_mistakes_has_a_sheet_that_says_so(tmp_path, figures):
    draw_most_wrong([], NAMES, "title", tmp_path / "sheet.png")
    assert figures["sheet.png"].texts[-1].get_text() == "No picture is predicted wrongly."


@pytest.mark.parametrize("option", ["confusion", "most_wrong"])
def test_a_file_that_is_no_picture_is_refused_before_anything_is_read(tmp_path, option):
    with pytest.raises(UsageError, match=rf"x.jpg is not the name of a picture.*--{option.replace('_', '-')}.*\.png"):
        evaluate_model(tmp_path / "nothing.h5", **{option: tmp_path / "x.jpg"})


def test_two_pictures_are_not_written_to_one_file(tmp_path):
    with pytest.raises(UsageError, match=r"x.png would be both pictures"):
        evaluate_model(
            tmp_path / "nothing.h5", confusion=tmp_path / "x.png", most_wrong=tmp_path / "a" / ".." / "x.png"
        )
