"""Teachers: what they say of a picture, which of them are refused, and a run that learns from them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from bopkit import load_model, train_model
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.data import get_preprocessing, open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.training.teacher_files import check_same_teachers, find_teachers
from bopkit.training.teachers import Teachers

DIGITS = open_dataset("digits")
CARD = ModelCard(
    architecture="mine",
    input_shape=(32, 32, 1),
    value_range=(-1.0, 1.0),
    preprocessing="resize",
    dataset="digits",
    class_names=DIGITS.class_names,
    trained=True,
)
PIXELS = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 1), dtype=np.uint8)


def network(activation="softmax", shape=(32, 32, 1), classes=10, seed=0):
    tf = import_tensorflow()
    tf.keras.utils.set_random_seed(seed + 1)
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input(shape),
            layers.Conv2D(4, 3, strides=2),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation, kernel_initializer=tf.keras.initializers.RandomNormal(stddev=3.0)),
        ]
    )


def saved(path, card=CARD, **options):
    made = network(**options)
    save_model(made, card, path) if card else made.save(path)
    return made


def teachers_of(*names, preprocess_fn=None, temperature=1.0, shape=(32, 32, 1)):
    files, strategy = find_teachers(names, preprocess_fn, DIGITS), import_tensorflow().distribute.get_strategy()
    return Teachers(files, shape, 10, temperature, strategy)


def softmax(values):
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_several_answer_with_their_mean_of_probabilities_or_logits(tmp_path, temperature):
    soft = saved(tmp_path / "soft.h5")
    raw = saved(tmp_path / "raw.keras", card=None, activation=None, seed=1)
    teachers = teachers_of(
        tmp_path / "soft.h5", tmp_path / "raw.keras", preprocess_fn="resize:0..1", temperature=temperature
    )
    of_soft = np.log(soft(PIXELS / 127.5 - 1).numpy())
    of_raw = raw(PIXELS / 255).numpy()
    expected = (softmax(of_soft / temperature) + softmax(of_raw / temperature)) / 2
    np.testing.assert_allclose(teachers(PIXELS), expected, rtol=1e-3, atol=1e-6)
    assert "answers probabilities; classes by name" in teachers.lines[0]
    assert "answers logits; classes by their number" in teachers.lines[1]


def test_a_saved_model_answers_as_the_network_that_it_was_made_of(tmp_path):
    tf = import_tensorflow()
    made = network()
    tf.saved_model.save(made, str(tmp_path / "saved"))
    teachers = teachers_of(tmp_path / "saved", preprocess_fn="resize:0..255")
    np.testing.assert_allclose(teachers(PIXELS), made(np.float32(PIXELS)), rtol=1e-4, atol=1e-6)


def test_pictures_come_to_the_teachers_size_and_channels(tmp_path):
    tf = import_tensorflow()
    card = dataclasses.replace(CARD, preprocessing="imagenet", input_shape=(48, 40, 3))
    made = saved(tmp_path / "wide.h5", card, shape=(48, 40, 3))
    shown = tf.image.grayscale_to_rgb(tf.image.resize(PIXELS, (48, 40)))
    expected = made(get_preprocessing("imagenet", (48, 40, 3)).finish(shown))
    np.testing.assert_allclose(teachers_of(tmp_path / "wide.h5")(PIXELS), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"class_names": tuple("abcdefghi")}, "has 9 classes, and dataset digits has 10"),
        ({"trained": False}, "is untrained"),
        ({"preprocessing": "mine"}, "Unknown preprocessing"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path, change, message):
    saved(tmp_path / "t.h5", dataclasses.replace(CARD, **change))
    with pytest.raises(UsageError, match=message):
        teachers_of(tmp_path / "t.h5")


@pytest.mark.parametrize(
    "names, message",
    [
        (("Cat", "dog", "owl"), None),
        (("dog", "cat", "owl"), "has the classes of dataset digits in another order"),
        (("cat", "dog", "bat"), "class 2 is 'bat' there and 'owl' here"),
        (("0", "1", "2"), "class 0 is '0' there and 'cat' here"),
        ((), None),
    ],
)
def test_classes_are_compared_by_name_and_order(tmp_path, names, message):
    pets = type(DIGITS)()
    pets.class_names = ("cat", "dog", "owl")
    saved(tmp_path / "t.h5", dataclasses.replace(CARD, class_names=names), classes=3)
    if message is None:
        (found,) = find_teachers([tmp_path / "t.h5"], None, pets)
        assert found.has_class_names == bool(names)
    else:
        with pytest.raises(UsageError, match=message):
            find_teachers([tmp_path / "t.h5"], None, pets)


def test_what_cannot_teach_is_refused_by_name(tmp_path):
    def refused(message, *names, **options):
        with pytest.raises(BopkitError, match=message):
            teachers_of(*names, **options)

    saved(tmp_path / "bare.keras", card=None)
    refused("bare.keras carries no model card", tmp_path / "bare.keras")
    refused("Unknown preprocessing", tmp_path / "bare.keras", preprocess_fn="nothing")
    saved(tmp_path / "carded.h5")
    refused("every teacher has one", tmp_path / "carded.h5", preprocess_fn="resize")
    refused("missing.h5 does not exist", tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("no network")
    refused("text.h5", tmp_path / "text.h5")
    saved(tmp_path / "few.keras", card=None, classes=9)
    refused(r"shape \[9\], not with 10 scores", tmp_path / "few.keras", preprocess_fn="resize")
    saved(tmp_path / "sigmoid.keras", card=None, activation="sigmoid")
    refused("neither probabilities", tmp_path / "sigmoid.keras", preprocess_fn="resize")
    tf = import_tensorflow()
    inputs = tf.keras.Input((32, 32, 1))
    flat = tf.keras.layers.Flatten()(inputs)
    tf.keras.Model(inputs, [flat, flat]).save(tmp_path / "two.keras")
    refused("one array of scores", tmp_path / "two.keras", preprocess_fn="resize")


TINY = {"filters": 4, "epochs": 2, "batch_size": 32}


def train(output_dir, hparams=None, **options):
    settings = {"limit_steps": 4, "tensorboard": False, "validationset": True, "precision": "float32", **options}
    return train_model(
        "tiny.network",
        "digits",
        hparams_set="bop_digits",
        hparams={**TINY, **(hparams or {})},
        output_dir=output_dir,
        **settings,
    )


def losses_of(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["kind"] == "epoch"]


@pytest.mark.integration
def test_a_teacher_that_knows_every_label_teaches_what_labels_do(tmp_path, monkeypatch):
    """The label of each picture hides in its first pixel; the teacher reads it there."""
    tf = import_tensorflow()

    def with_labels(image, label):
        return tf.tensor_scatter_nd_update(image, [[0, 0, 0]], [tf.cast(label, tf.uint8)]), label

    read = type(DIGITS).read
    monkeypatch.setattr(type(DIGITS), "read", lambda self, split: read(self, split).map(with_labels))
    layers = tf.keras.layers
    teacher = tf.keras.Sequential(
        [
            layers.Input((32, 32, 1)),
            layers.Cropping2D(((0, 31), (0, 31))),
            layers.Flatten(),
            layers.Dense(10),
            layers.Softmax(),
        ]
    )
    # Scores of class c at pixel p: 100 c p - 50 c^2, highest where c = p.
    numbers = np.arange(10, dtype=np.float32)
    teacher.layers[-2].set_weights([100 * numbers[None], -50 * numbers**2])
    teacher.save(tmp_path / "oracle.keras")
    options = {"preprocess_fn": "resize", "hparams": {"epochs": 1}}
    train(tmp_path / "labels", **options)
    train(tmp_path / "taught", teacher=[tmp_path / "oracle.keras"], teacher_preprocess_fn="resize:0..255", **options)
    assert losses_of(tmp_path / "taught") == pytest.approx(losses_of(tmp_path / "labels"), rel=1e-4)
    for ours, theirs in zip(
        *(load_model(tmp_path / name / "model.h5").get_weights() for name in ("labels", "taught")), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)


@pytest.mark.integration
def test_a_run_goes_on_with_its_teachers_only(tmp_path):
    saved(tmp_path / "t.h5")
    shutil.copy(tmp_path / "t.h5", tmp_path / "moved.h5")
    recipe = {"mixup": 0.2, "label_smoothing": 0.1, "class_weights": "balanced"}
    recipe |= {"teacher_weight": 0.5, "teacher_temperature": 2.0}
    options = {"hparams": recipe, "precision": "bfloat16", "accumulate": 2}
    said = []
    train(tmp_path / "whole", teacher=[tmp_path / "t.h5"], progress=said.append, **options)
    assert any(line.startswith(f"teacher {tmp_path / 't.h5'}, preprocessing resize, input 32 x 32") for line in said)

    def stop(row):
        raise KeyboardInterrupt

    run = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train(run, teacher=[tmp_path / "t.h5"], on_epoch=stop, **options)
    assert list(json.loads((run / "config.json").read_text())["teachers"][0]) == ["sha256", "preprocessing"]
    with pytest.raises(UsageError, match=r"learns from .*t\.h5, which is not named now"):
        train(run, **options)
    saved(tmp_path / "t.h5", seed=5)
    with pytest.raises(UsageError, match=r"Teacher .*t\.h5 is not the one"):
        train(run, teacher=[tmp_path / "t.h5"], **options)
    with pytest.raises(UsageError, match="2 are named now"):
        train(run, teacher=[tmp_path / "t.h5", tmp_path / "moved.h5"], **options)
    result = train(run, teacher=[tmp_path / "moved.h5"], **options)
    assert result.resumed_after_epochs == 1
    assert losses_of(run) == losses_of(tmp_path / "whole")
    for resumed, whole in zip(
        *(load_model(folder / "model_last.h5").get_weights() for folder in (run, tmp_path / "whole")), strict=True
    ):
        np.testing.assert_array_equal(resumed, whole)


@pytest.mark.integration
def test_a_teachers_settings_without_a_teacher_are_refused(tmp_path):
    with pytest.raises(UsageError, match="teacher_weight has no effect"):
        train(tmp_path / "run", {"teacher_weight": 0.5})
    with pytest.raises(UsageError, match="no teacher"):
        train(tmp_path / "run", teacher_preprocess_fn="resize")
    assert not (tmp_path / "run").exists()


def test_the_hint_of_a_teacher_that_is_not_named_can_be_typed(tmp_path):
    files = {
        "config.json": {"hparams": {}, "teachers": [{"sha256": "0", "preprocessing": "resize"}]},
        "environment.json": {"teachers": ["my teacher.h5"]},
        "metrics.jsonl": {"kind": "epoch", "epoch": 1},
    }
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values) + "\n")
    with pytest.raises(UsageError) as raised:
        check_same_teachers(tmp_path, ())
    assert raised.value.hint == "Add --teacher 'my teacher.h5'."
