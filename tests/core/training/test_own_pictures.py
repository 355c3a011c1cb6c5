"""Training on the user's own pictures: what a run remembers of them, and what it says of them."""

import json
import os
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
from command_line import failed, forked
from PIL import Image

from bopkit import (
    evaluate_model,
    export_model,
    load_model,
    predict_pictures,
    read_card,
    train_model,
    verify_artifacts,
)
from bopkit.data import dataset_from_arrays, dataset_from_tf_data
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow

tf = import_tensorflow()

pytestmark = pytest.mark.integration

GENERATOR = np.random.default_rng(0)
COUNTS = {"dark": 40, "light": 12}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working folder with photos of many sizes in two folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    for label, (name, count) in enumerate(COUNTS.items()):
        for number in range(count):
            write(tmp_path / "photos" / name / f"{number} ü.png", label)
    return tmp_path / "photos"


def write(path, label):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = GENERATOR.integers(30, 60, 2)
    Image.fromarray(GENERATOR.integers(150 * label, 150 * label + 100, (height, width, 3), np.uint8)).save(path)


def train(output_dir, dataset="folder:photos", said=None, **kwargs):
    hparams = {"filters": 4, "epochs": 2, "batch_size": 8}
    options = {"tensorboard": False, "progress": None if said is None else said.append, **kwargs}
    return train_model(
        "tiny.network", dataset, hparams_set="bop_digits", hparams=hparams, output_dir=output_dir, **options
    )


def stop(row):
    raise KeyboardInterrupt


def test_a_run_goes_on_with_its_pictures_and_is_measured_on_its_test_pictures(photos, tmp_path):
    said = []
    whole = train("whole", said=said)
    assert (whole.validation_split, whole.validation_pictures) == ("validation", 5)
    lines = "\n".join(said)
    assert "input 32 x 32 x 3, 2 classes, 42 pictures" in lines and "preprocessing crop_and_flip" in lines
    assert "classes have 10 to 32 training pictures; --hparams class_weights=balanced" in lines
    card = read_card("whole/model.h5")
    assert (card.dataset, card.class_names) == ("folder:photos", ("dark", "light"))
    with pytest.raises(KeyboardInterrupt):
        train("stopped", on_epoch=stop)
    for number in range(20):
        write(photos / "dark" / f"new {number}.png", 0)
    said.clear()
    train("stopped", said=said)
    assert "20 pictures of folder:photos came after the run began: left out" in said
    for one, other in zip(*(load_model(f"{run}/model.h5").get_weights() for run in ("whole", "stopped")), strict=True):
        np.testing.assert_array_equal(one, other)
    said.clear()
    found = evaluate_model("whole", progress=said.append)
    assert (found.dataset, found.split, found.pictures) == ("folder:photos", "test", 5)
    assert not any(line.startswith("Warning") for line in said)
    said.clear()
    found = evaluate_model("whole/model.h5", "folder:photos", progress=said.append)
    assert found.pictures == 7
    assert "have changed since it was trained" in "\n".join(said)
    shutil.move("photos", "moved")
    with pytest.raises(BopkitError, match="photos does not exist"):
        train("stopped2", "folder:photos")
    assert evaluate_model("whole/model.h5", "folder:moved").pictures == 7


def test_a_run_without_progress_takes_other_pictures(photos):
    def at_once(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("run", callbacks=[types.SimpleNamespace(on_start=at_once)])
    assert os.path.exists("run/pictures.csv")
    shutil.copytree("photos", "others")
    os.rename("others/dark/0 ü.png", "others/dark/zero.png")
    train("run", "folder:others")
    assert "dark/zero.png" in (photos.parent / "run" / "pictures.csv").read_text()


def test_what_a_split_lacks_is_said(photos):
    for name, folder in (("dark", "train"), ("light", "train"), ("dark", "test")):
        (photos.parent / "split" / folder).mkdir(parents=True, exist_ok=True)
        shutil.copytree(photos / name, photos.parent / "split" / folder / name)
    said = []
    train("run", "folder:split", said)
    assert "Warning: split test, which validates, has no picture of light" in said


def test_the_input_shape_is_the_users(photos):
    result = train("run", input_shape=(16, 24, 1), preprocess_fn="pad")
    assert read_card(result.model_file).input_shape == (16, 24, 1)
    assert json.loads((result.output_dir / "config.json").read_text())["input_shape"] == [16, 24, 1]
    with pytest.raises(UsageError, match="input_shape"):
        train("run", preprocess_fn="pad")
    with pytest.raises(UsageError, match="16,0,1 is not height, width, channels"):
        train("other", input_shape=(16, 0, 1))
    with pytest.raises(UsageError, match="makes pictures of 1 or 3 channels, not 2"):
        train("other", input_shape=(16, 16, 2))
    assert evaluate_model("run").pictures == 5


def test_damaged_pictures_stop_a_run_or_are_left_out(photos):
    (photos / "dark" / "cut.png").write_bytes((photos / "dark" / "3 ü.png").read_bytes()[:-20])
    arguments = (
        "train",
        "tiny.network",
        "--dataset",
        "folder:photos",
        "--hparams-set",
        "bop_digits",
        "--output-dir",
        "run",
    )
    arguments += ("--hparams", "filters=4,epochs=1,batch_size=8", "--no-tensorboard")
    assert "1 picture cannot be used: dark/cut.png is damaged" in failed(forked(*arguments))
    assert not os.path.exists("run")
    answer = forked(*arguments, "--skip-damaged")
    assert answer.returncode == 0, answer.stderr
    assert "left out: 1 picture cannot be used: dark/cut.png is damaged" in answer.stderr
    assert evaluate_model("run").pictures == 5  # it is not asked for again
    (photos / "dark" / "4 ü.png").write_bytes(b"")
    with pytest.raises(BopkitError, match="2 pictures cannot be used: .* and dark/4 ü.png is empty"):
        evaluate_model("run", "folder:photos")
    refused = forked("train", "tiny.network", "--dataset", "digits", "--skip-damaged")
    assert "Leave out --skip-damaged" in failed(refused, 2)


def test_datasets_of_arrays_and_of_pipelines_train_alike(tmp_path):
    """The same pictures give the same run, whichever way they come."""
    pictures = GENERATOR.integers(0, 256, (40, 12, 12, 3), np.uint8)
    labels = np.arange(40) % 2
    arrays = dataset_from_arrays(pictures[:32], labels[:32], pictures[32:], labels[32:], name="mine")
    slices = [tf.data.Dataset.from_tensor_slices((pictures[part], labels[part])) for part in np.s_[:32, 32:]]
    encoded = [each.map(lambda image, label: (tf.io.encode_png(image), label)) for each in slices]
    np.savez(
        tmp_path / "mine.npz", x_train=pictures[:32], y_train=labels[:32], x_test=pictures[32:], y_test=labels[32:]
    )
    datasets = {
        "arrays": arrays,
        "pipelines": dataset_from_tf_data(*slices, name="mine"),
        "npz": f"npz:{tmp_path / 'mine.npz'}",
        "encoded": dataset_from_tf_data(*encoded, class_names=["0", "1"], name="mine"),
    }
    weights = []
    for name, dataset in datasets.items():
        options = {"preprocess_fn": "pad_and_flip", "input_shape": (12, 12, 3)}
        result = train(tmp_path / name, dataset, batch_norm_pictures=0, **options)
        assert (result.validation_split, result.validation_pictures) == ("test", 8)
        weights.append(load_model(result.model_file).get_weights())
        again = train(tmp_path / name, dataset, batch_norm_pictures=0, **options)
        assert again.model_file == result.model_file
    for others in weights[1:]:
        for one, other in zip(weights[0], others, strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(UsageError, match="dataset 'mine', which neither bopkit nor TFDS knows"):
        evaluate_model(tmp_path / "arrays")
    assert evaluate_model(tmp_path / "arrays", datasets["npz"]).pictures == 8
    with pytest.raises(UsageError, match="dataset"):
        train(tmp_path / "arrays", dataset_from_arrays(pictures, labels, name="mine"), validation_split="train[:5]")


def test_pipelines_of_something_else_are_refused():
    pictures, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2
    sound = tf.data.Dataset.from_tensor_slices((pictures, labels))
    for dataset, words in (
        (sound.batch(2), r"train yields pictures uint8 \(None, 8, 8, 3\). Add .unbatch\(\)"),
        (sound.map(lambda image, label: image), "does not yield pairs"),
        (sound.map(lambda image, label: (tf.cast(image, tf.float32), label)), "yields pictures float32"),
        (sound.map(lambda image, label: (image, tf.one_hot(label, 2))), r"yields labels float32 \(2,\)"),
        (sound.map(lambda image, label: (image, label + 1)), "not all of 0, 1, 2"),
        (sound.take(1), "has 1 class"),
        (sound.repeat(), "never ends. Leave out .repeat"),
        (None, "train is NoneType"),
        ([1, 2], "train is list"),
    ):
        with pytest.raises(UsageError, match=words):
            dataset_from_tf_data(dataset)


def test_what_follows_training_knows_the_pictures(photos, tmp_path, monkeypatch):
    train("run")
    exported = export_model("run/model.h5")
    monkeypatch.chdir("run")  # a run finds its pictures from elsewhere too
    sources = [agreement.source for artifact in exported.artifacts for agreement in artifact.agreements]
    assert sources == ["folder:photos test split", "uniform random input"] * 2
    for other in ("model.tflite", "model"):
        verification = verify_artifacts("model.h5", other)
        assert verification.passed and not verification.notes
        assert "folder:photos test split" in json.dumps(verification.to_dict())
        (found,) = predict_pictures(other, photos / "light" / "3 ü.png").pictures
        assert sorted(each.name for each in found.classes) == ["dark", "light"]
    assert Path("model/1/assets.extra/labels.txt").read_text() == "dark\nlight\n"


def test_the_best_epoch_is_chosen_by_what_the_user_names(photos):
    """Of unbalanced classes: by rows of the run, and by what its model files are measured at."""
    runs = {}
    for best_by in ("val_top1", "val_balanced_accuracy", "val_loss"):
        result = train(best_by, best_by=best_by, seed=1, validation_split="train[:50%]", train_split="train[50%:]")
        rows = [json.loads(line) for line in (result.output_dir / "metrics.jsonl").read_text().splitlines()]
        runs[best_by] = [row for row in rows if row["kind"] == "epoch"]
        values = [-row["val_loss"] if best_by == "val_loss" else row[best_by] for row in runs[best_by]]
        assert result.metrics["epoch"] == 1 + int(np.argmax(values))
        found = evaluate_model(result.output_dir, split="train[:50%]")
        row = runs[best_by][int(np.argmax(values))]
        assert found.top1 == pytest.approx(row["val_top1"])
        assert found.balanced_accuracy == pytest.approx(row["val_balanced_accuracy"])
        assert found.balanced_accuracy == pytest.approx(np.mean(found.class_top1))
        assert found.class_names == ("dark", "light")
    assert json.loads((photos.parent / "val_loss" / "config.json").read_text())["best_by"] == "val_loss"
    with pytest.raises(UsageError, match="Unknown metric 'val_top2'. Did you mean 'val_top1'"):
        train("other", best_by="val_top2")
