"""The best classes of pictures: those that the accuracy of the same artifact counts, whatever the pictures are like."""

import collections
import io
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import terminal
from command_line import failed, forked, succeeded
from PIL import Image

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.benchmark import predict_worker
from bopkit.benchmark.accuracy import plan_evaluation, write_scores
from bopkit.benchmark.benchmark import benchmark_artifacts
from bopkit.benchmark.job import SCORES_FILE
from bopkit.benchmark.predict import predict_pictures
from bopkit.benchmark.runtimes.keras import KerasRuntime
from bopkit.data import get_preprocessing, open_dataset
from bopkit.data.picture_files import picture_files, read_picture, survey
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.progress import silent

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("forked_children")]

FINISHED = Path(__file__).parents[2] / "compatibility" / "data" / "finished"
"""A run on the digits, its export beside it."""


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The digits' test pictures as PNG files; each name ends with the label."""
    tf = import_tensorflow()
    folder = tmp_path_factory.mktemp("digits")
    for number, (image, label) in enumerate(open_dataset("digits").read("test")):
        (folder / f"{number:03d}_{int(label)}.png").write_bytes(tf.io.encode_png(image).numpy())
    return folder


def confusion(predictions):
    """As a row of a benchmark has it, the labels taken from the names of the files."""
    pairs = collections.Counter((int(Path(each.picture).stem[-1]), each.classes[0].index) for each in predictions)
    return [(*pair, count) for pair, count in sorted(pairs.items())]


def test_scores_of_a_keras_file_are_those_of_its_evaluation_bit_for_bit(digits, tmp_path):
    runtime = KerasRuntime(threads=None)
    runtime.load(FINISHED / "model.h5")
    plan = plan_evaluation("digits", None, None, None, None, 100)
    write_scores([runtime], plan, "shift", tmp_path, silent)
    expected = np.load(tmp_path / SCORES_FILE)
    found = predict_pictures(FINISHED, digits, top=10)
    assert found.facts.preprocessing == "shift" and found.facts.preprocessing_source == "model card"
    assert [each.picture for each in found.pictures] == [str(each) for each in sorted(digits.iterdir())]
    assert len(expected) == 364
    for prediction, scores in zip(found.pictures, expected, strict=True):
        assert {each.index: np.float32(each.score) for each in prediction.classes} == dict(enumerate(scores))
        assert prediction.classes[0].index == scores.argmax()


@pytest.mark.parametrize("name", ["model.h5", "model.tflite", "model"])
def test_classes_are_those_that_a_benchmark_counts(name, digits):
    (row,) = benchmark_artifacts(
        [FINISHED / name], "digits", runs=1, warmup_runs=0, min_duration_s=0, resume=False
    ).rows
    found = predict_pictures(FINISHED / name, [digits], top=1)
    assert confusion(found.pictures) == row.confusion
    assert len(row.confusion) > 20


def test_a_saved_model_without_card_prepares_pictures_itself(digits, tmp_path):
    shutil.copytree(FINISHED / "model" / "1", tmp_path / "model", ignore=shutil.ignore_patterns("assets.extra"))
    (digits_cut := tmp_path / "cut.png").write_bytes(next(digits.iterdir()).read_bytes()[:100])
    pictures = [*sorted(digits.iterdir())[:20], digits_cut]
    found = predict_pictures(tmp_path / "model", pictures, top=10)
    expected = predict_pictures(FINISHED / "model", pictures, top=10)
    assert found.facts.preprocessing_source == "SavedModel"
    assert found.pictures[-1].error == expected.pictures[-1].error == f"{digits_cut} is damaged."
    for mine, other in zip(found.pictures, expected.pictures, strict=True):
        assert [each.index for each in mine.classes] == [each.index for each in other.classes]
        assert [each.score for each in mine.classes] == pytest.approx([each.score for each in other.classes], abs=1e-6)


def write_network(path, preprocessing="resize", classes=("dark", "bright"), activation="softmax", scale=4.0):
    """A network whose second score is the left half's brightness, and whose first is what is missing to white."""
    tf = import_tensorflow()
    kernel = np.zeros((4, 4, 1, 2), np.float32)
    kernel[:, :2, 0] = [[-scale / 8, scale / 8]]
    inputs = tf.keras.Input((4, 4, 1))
    outputs = tf.keras.layers.Dense(2, activation, use_bias=False)(tf.keras.layers.Flatten()(inputs))
    model = tf.keras.Model(inputs, outputs)
    model.layers[-1].set_weights([kernel.reshape(16, 2)])
    save_model(model, ModelCard("halves", (4, 4, 1), (-1.0, 1.0), preprocessing, class_names=classes), path)
    return path


def left_bright():
    """Bright on the left, dark on the right."""
    return Image.fromarray(np.repeat(np.uint8([[255, 255, 0, 0]]), 4, axis=0))


def encoded(image, kind, **options):
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def test_pictures_are_decoded_as_everywhere_and_turned_upright(tmp_path):
    model = write_network(tmp_path / "model.h5")
    turned = Image.Exif()
    turned[0x0112] = 3  # by half a turn
    files = {
        "a.png": encoded(left_bright(), "PNG"),
        "b.png": encoded(left_bright().convert("RGBA"), "PNG"),
        "c.jpg": encoded(left_bright(), "JPEG", quality=100),
        "d.jpg": encoded(left_bright(), "JPEG", quality=100, exif=turned),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = predict_pictures(model, [tmp_path / name for name in files])
    assert [each.classes[0].name for each in found.pictures] == ["bright", "bright", "bright", "dark"]
    preprocessing = get_preprocessing("resize", (4, 4, 1))
    for prediction, data in zip(found.pictures, files.values(), strict=True):
        bright = preprocessing.evaluate(import_tensorflow().constant(data)).numpy()[:, :2].mean()
        assert prediction.classes[0].score == pytest.approx(1 / (1 + np.exp(-8 * abs(bright))), rel=1e-5)


def test_files_and_folders_are_read_in_order(tmp_path):
    names = ["b/2.PNG", "b/10.jpeg", "a.png", "b.png", "b/c/d/e.jpg", ".hidden/x.png", "b/.x.png", "b/notes.txt"]
    for name in [*names, "b/other.tif"]:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "b" / "loop").symlink_to(tmp_path / "in")
    paths = [tmp_path / "in", tmp_path / "in" / "b" / "notes.txt"]
    files = [str(Path(each).relative_to(tmp_path / "in")) for each in picture_files(paths)]
    assert files == ["a.png", "b/10.jpeg", "b/2.PNG", "b/c/d/e.jpg", "b.png", "b/notes.txt"]
    counted = survey(paths)
    assert counted.pictures == 6 and counted.longest == len(str(tmp_path / "in" / "b/notes.txt"))
    assert (counted.left_out, counted.example) == (1, str(tmp_path / "in" / "b" / "other.tif"))


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BopkitError, match="pipe.png is not a file of bytes on a disk"):
        read_picture(str(tmp_path / "pipe.png"))


@pytest.fixture
def mixed(tmp_path):
    """A network and a folder of pictures, some of which cannot be read."""
    folder = tmp_path / "in"
    folder.mkdir()
    whole = encoded(left_bright(), "PNG")
    files = {"a.png": whole[:40], "b.png": whole, "c.jpg": b"text", "d.png": whole, "e.png": b""}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return write_network(tmp_path / "model.h5"), folder


def test_unreadable_pictures_are_named_and_the_others_go_on(mixed):
    model, folder = mixed
    answer = forked("predict", model, folder, "--json")
    assert answer.returncode == 1
    *named, said, error = answer.stderr.splitlines()
    assert said == f"{model} by Keras, preprocessing resize from the model card"
    assert error == "Error: 3 of 5 pictures could not be read. Each is named above."
    assert [each.split()[0] for each in named] == [str(folder / name) for name in ("a.png", "c.jpg", "e.png")]
    found = json.loads(answer.stdout)["predictions"]
    assert [Path(each["picture"]).name for each in found] == ["a.png", "b.png", "c.jpg", "d.png", "e.png"]
    assert [each["error"] for each in found] == [named[0], None, named[1], None, named[2]]
    assert [[best["name"] for best in each["classes"]] for each in found] == [[], *[["bright", "dark"], []] * 2]


def test_the_table_of_a_pipe_is_whole_and_that_of_a_terminal_fits(mixed, tmp_path):
    model, folder = mixed
    picture = tmp_path / ("a_long_name_" * 8) / "b.png"
    picture.parent.mkdir()
    shutil.copy(folder / "b.png", picture)
    lines = succeeded(forked("predict", model, picture)).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[str(picture), "bright"], [str(picture), "dark"]]
    shown = terminal.in_terminal(80, "predict", str(model), str(picture))
    assert max(map(len, shown[:3])) <= 80 and shown[0].split() == ["picture", "class", "score"]
    assert shown[1].split()[0].endswith("_name_/b.png") and "…" in shown[1]
    assert shown[2].split()[0] == "dark"
    assert "`--json` has them whole" in " ".join(shown)


def test_scores_that_are_no_probabilities_are_shown_as_they_are(tmp_path):
    write_network(tmp_path / "model.h5", activation=None)
    (tmp_path / "a.png").write_bytes(encoded(left_bright(), "PNG"))
    lines = succeeded(forked("predict", tmp_path / "model.h5", tmp_path / "a.png")).splitlines()
    assert [line.split()[1:] for line in lines[1:]] == [["bright", "4.0000"], ["dark", "-4.0000"]]


def test_what_cannot_be_predicted_is_known_at_once(mixed, tmp_path):
    model, folder = mixed
    bare = write_network(tmp_path / "bare.h5", preprocessing="", classes=())
    for arguments, words in (
        ((bare, folder), "A prediction needs the preprocessing.*--preprocess-fn"),
        ((model, tmp_path / "none.png"), "none.png does not exist"),
        ((model, []), "No pictures are named"),
    ):
        with pytest.raises(UsageError, match=words):
            predict_pictures(*arguments)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty has no pictures"):
        predict_pictures(model, tmp_path / "empty")
    with pytest.raises(UsageError, match="top is 0"):
        predict_pictures(model, folder, top=0)
    named = predict_pictures(bare, folder / "b.png", preprocess_fn="resize")
    assert [each.name for each in named.pictures[0].classes] == ["1", "0"]


def test_scores_that_are_no_numbers_end_it(mixed, tmp_path):
    _, folder = mixed
    model = write_network(tmp_path / "nan.h5", scale=float("nan"))
    with pytest.raises(BopkitError, match=r"A score of .*b.png is not a finite number"):
        predict_pictures(model, folder)
    assert "b.png is not a finite number" in failed(forked("predict", model, folder))


def test_memory_does_not_grow_with_the_number_of_pictures():
    """Few pictures are prepared ahead of the caller, who takes a batch at a time."""
    asked = itertools.count()
    endless = (__file__ for _ in iter(lambda: next(asked), None))
    pictures = predict_worker._prepared(endless, lambda encoded: encoded, cores=2)
    assert all("no JPEG, PNG" in next(pictures)[1] for _ in range(100))
    assert 100 <= next(asked) <= 110
    pictures.close()


def test_predictions_in_python(mixed):
    model, folder = mixed
    found = predict_pictures(model, folder)
    assert repr(found).splitlines()[0].startswith("Predictions: 5 pictures by")
    frame = found.to_pandas()
    assert list(frame["class_name"].dropna()) == ["bright", "dark"] * 2
    assert len(frame) == 3 + 2 * 2 and frame["error"].notna().sum() == 3
