"""The commands that users come for, from the data's own file formats to figures of the exported files."""

import dataclasses
import json

import numpy as np
import pytest
from catalogue_exports import assert_small_and_packed
from command_line import forked, succeeded

from bopkit import load_model, open_dataset, read_card
from bopkit.artifacts import artifact
from bopkit.benchmark.child import measure_in_child
from bopkit.benchmark.job import SCORES_FILE, EvaluationPlan, Job
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

COMMANDS = {
    "birealnet": "train birealnet --dataset imagenet2012 --hparams batch_size=8,epochs=1 --limit-steps 2",
    "binarynet": "train binarynet --dataset cifar10 --preprocess-fn resize_and_flip --hparams-set bop_sec52 "
    "--hparams epochs=2,filters=16,dense_units=64",
}


@dataclasses.dataclass
class Road:
    """What train, export and benchmark left and said."""

    folder: object
    trained: dict
    exported: dict
    measured: dict


HEADLINE = pytest.param("birealnet", marks=pytest.mark.release)


@pytest.fixture(scope="module", params=["binarynet", HEADLINE])
def road(request, data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)

    def run(*arguments, **options):
        return json.loads(succeeded(forked(*arguments, "--data-dir", data_dir, "--json", **options)))

    command = COMMANDS[request.param].split()
    dataset = command[command.index("--dataset") : command.index("--dataset") + 2]
    trained = run(*command, cwd=folder)
    folder = (folder / trained["model_file"]).parent
    exported = run("export", folder / "model.h5", "--pictures", 32)
    artifacts = [folder / name for name in ("model.h5", "model", "model.tflite")]
    measured = run("benchmark", *artifacts, *dataset, "--runs", 5, "--min-seconds", 0)
    return Road(folder, trained, exported, measured)


def test_the_whole_road(road):
    model, card = load_model(road.folder / "model.h5"), read_card(road.folder / "model.h5")
    assert card.trained
    assert card.accuracy["val_top1"] == road.trained["metrics"]["val_top1"]

    flatbuffer, saved_model = road.exported["artifacts"]
    assert (flatbuffer["format"], saved_model["format"]) == ("tflite", "savedmodel")
    binary = {layer.name for layer in model.layers if hasattr(layer, "kernel_quantizer")}
    assert len(binary) >= 9
    # BinaryNet's first layer sees real pixels: LCE has no binary convolution for those, TensorFlow stores its bits.
    assert {layer["name"] for layer in flatbuffer["layers"] if layer["packed"]} == binary - {"conv1"}
    assert {layer["name"] for layer in saved_model["layers"] if layer["packed"]} == binary
    for exported in (flatbuffer, saved_model):
        real, noise = exported["agreements"]
        assert (real["real"], noise["real"]) == (True, False)
        assert real["source"].startswith(card.dataset)
        assert real["top1"] >= 0.995

    rows = road.measured["rows"]
    assert [row["kind"] for row in rows] == ["keras", "savedmodel", "tflite"]
    for row in rows:
        assert row["error"] is None
        assert row["preprocessing"] == card.preprocessing
        # The validation of the last epoch saw the same pictures through the same preprocessing.
        assert row["top1"] == pytest.approx(road.trained["metrics"]["val_top1"])
    assert [row["top1_agreement"] for row in rows] == [None, 1.0, 1.0]


@pytest.mark.parametrize("road", [HEADLINE], indirect=True)
def test_bi_real_net_is_as_small_as_promised(road):
    assert_small_and_packed("birealnet", road.exported)
    row = road.measured["rows"][2]
    assert row["runtime"] == "LiteRT" and row["settings"]["claimed_operators"] > 0
    assert row["floor_bytes"] == road.exported["artifacts"][0]["floor_bytes"]


def test_serving_preprocesses_as_the_evaluation_does(road, data_dir, tmp_path):
    """The pictures' own bytes through `predict_bytes`, and through what `bopkit benchmark` does with a SavedModel."""
    card = artifact.read_card(road.folder / "model")
    dataset = open_dataset(card.dataset, data_dir)
    encoded = [image for image, _ in dataset.read(dataset.test_split).take(12).as_numpy_iterator()]
    evaluation = EvaluationPlan(
        dataset=dataset.name,
        data_dir=str(data_dir),
        split=dataset.test_split,
        pictures=len(encoded),
        batch_size=4,
        class_names=dataset.class_names,
        input_shape=dataset.input_shape,
        default_preprocessing=dataset.default_preprocessing,
        preprocess_fn=None,
    )
    job = Job(str(road.folder / "model"), threads=1, timing=None, evaluation=evaluation)
    assert measure_in_child(job, tmp_path, lambda line: None).error is None
    benchmarked = np.load(tmp_path / SCORES_FILE)

    tf = import_tensorflow()
    loaded = tf.saved_model.load(str(road.folder / "model" / "1"))
    answer = loaded.signatures["predict_bytes"](image_bytes=tf.constant(encoded))
    served = answer["probabilities"].numpy()
    np.testing.assert_allclose(served, benchmarked, rtol=0, atol=1e-6)
    top1 = [dataset.class_names[index] for index in benchmarked.argmax(axis=1)]
    assert [names[0].decode() for names in answer["classes"].numpy()] == top1


@pytest.mark.release
@pytest.mark.parametrize("command", ["train binarynet --dataset cifar10", "train alexnet --dataset imagenet2012"])
def test_the_commands_that_failed_in_the_archived_code(command, data_dir, tmp_path):
    """Its README's own: no `default` preprocessing for cifar10, and no name `alexnet`."""
    options = ["--dry-run", "--hparams", "batch_size=4", "--data-dir", data_dir]
    (tmp_path / "empty").mkdir()
    result = forked(*command.split(), *options, cwd=tmp_path / "empty")
    assert succeeded(result) == ""
    assert "dry run: everything builds, and a step or two ran" in result.stderr
    assert not list((tmp_path / "empty").iterdir())
