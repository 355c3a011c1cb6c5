"""Runs with statistics estimated anew: training is the same, and model files have those of their own weights."""

import json

import numpy as np
import pytest
from written_runs import append, epoch_row

from bopkit import load_model, train_model
from bopkit.batch_norm import BATCH_SIZE, DEFAULT_PICTURES, BatchNormEstimator
from bopkit.data import get_preprocessing, open_dataset
from bopkit.data.statistics_batches import statistics_batches
from bopkit.keras2 import import_tensorflow
from bopkit.progress import silent
from bopkit.runs.directory import list_places
from bopkit.training.options import TrainOptions
from bopkit.training.plan import plan_run

pytestmark = pytest.mark.integration

STEPS, BATCH = 5, 32


def train(output_dir, model="tiny.network", **options):
    hparams = {"filters": 4, "epochs": 2, "batch_size": BATCH}
    options = {"precision": "float32", "limit_steps": STEPS, "tensorboard": False, "validationset": True, **options}
    result = train_model(
        model, "digits", hparams_set="bop_digits", hparams=hparams, output_dir=output_dir, keep=1, **options
    )
    return result.output_dir


def state_of(run):
    """All that training goes on from."""
    tf = import_tensorflow()
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / str(list_places(run / "checkpoints")[-1]) / "state"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "_CHECKPOINT" not in name}


def statistics_of(network):
    norms = [layer for layer in network.layers if hasattr(layer, "moving_mean")]
    return [value.numpy() for layer in norms for value in (layer.moving_mean, layer.moving_variance)]


def rows_of(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == "epoch"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_is_the_same_bit_for_bit_with_and_without(tmp_path, precision):
    runs = [
        train(tmp_path / str(pictures), "tiny.with_dropout", precision=precision, batch_norm_pictures=pictures)
        for pictures in (0, None)
    ]
    without, anew = map(state_of, runs)
    assert without.keys() == anew.keys()
    for name, value in without.items():
        np.testing.assert_array_equal(anew[name], value, err_msg=name)
    networks = [load_model(run / "model_last.h5") for run in runs]
    for variable, other in zip(*(network.variables for network in networks), strict=True):
        assert ("moving_" in variable.name) != np.array_equal(variable, other), variable.name
    row, other_row = (rows_of(run)[-1] for run in runs)
    assert row["loss"] == other_row["loss"]
    assert row["val_loss"] != other_row["val_loss"]


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"precision": "bfloat16"}], ids=str)
def test_a_model_file_has_the_statistics_of_its_own_weights(tmp_path, options):
    run = train(tmp_path / "run", **options)
    tf = import_tensorflow()
    for name in ("model.h5", "model_last.h5"):
        network = load_model(run / name)
        found = statistics_of(network)
        preprocessing = get_preprocessing("shift", (32, 32, 1))
        # Never more pictures than an epoch trains on: it is limited to a few steps here.
        batches = statistics_batches(
            open_dataset("digits"), "train[:90%]", preprocessing, STEPS * BATCH, BATCH_SIZE, seed=0
        )
        BatchNormEstimator(network, tf.distribute.get_strategy(), preprocessing.finish).estimate(batches)
        for value, expected in zip(found, statistics_of(network), strict=True):
            np.testing.assert_array_equal(value, expected)


def test_a_run_that_was_killed_before_its_last_file_has_the_same_file(tmp_path):
    run = train(tmp_path / "run")
    before = load_model(run / "model_last.h5").get_weights()
    (run / "model_last.h5").unlink()
    train(run)
    for value, expected in zip(load_model(run / "model_last.h5").get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_latent_weights_keep_their_moving_averages(tmp_path):
    result = train_model(
        "tiny.network",
        "digits",
        hparams_set="latent_digits",
        hparams={"filters": 4, "epochs": 1, "batch_size": BATCH},
        output_dir=tmp_path / "run",
        limit_steps=STEPS,
    )
    assert json.loads((result.output_dir / "config.json").read_text())["batch_norm_pictures"] == 0


def test_the_number_of_pictures_that_is_told_is_that_of_the_run(tmp_path):
    lines = []
    train(tmp_path / "run", progress=lines.append)
    begin = f"batch-norm statistics are estimated anew over {STEPS * BATCH} "
    assert sum(line.startswith(begin) for line in lines) == 1


def test_the_number_is_chosen_anew_until_something_is_trained(tmp_path):
    def planned(hparams_set):
        options = TrainOptions(model="tiny.network", dataset="digits", hparams_set=hparams_set, output_dir=tmp_path)
        return plan_run(options, silent)

    config = planned("latent_digits").config()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert planned("bop_digits").batch_norm_pictures == DEFAULT_PICTURES
    append(tmp_path, epoch_row(1))
    assert planned("bop_digits").batch_norm_pictures == 0
    del config["batch_norm_pictures"]  # begun before there was a choice
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert planned("bop_digits").batch_norm_pictures == 0


def test_batches_are_equal_and_the_same_each_time():
    tf = import_tensorflow()
    digits, preprocessing = open_dataset("digits"), get_preprocessing("shift", (32, 32, 1))
    batches = statistics_batches(digits, "train", preprocessing, 350, 100, seed=3)
    once, again = ([batch.numpy() for batch in batches] for _ in range(2))
    assert [batch.shape for batch in once] == [(87, 32, 32, 1)] * 4
    np.testing.assert_array_equal(np.concatenate(once), np.concatenate(again))
    few = list(statistics_batches(digits, "train[:20]", preprocessing, 350, 100, seed=3))
    assert [batch.shape for batch in few] == [(20, 32, 32, 1)]
    other_seed = next(iter(statistics_batches(digits, "train", preprocessing, 350, 100, seed=4)))
    assert (other_seed.numpy() != once[0]).any()
    assert few[0].dtype in (tf.uint8, tf.float32)
