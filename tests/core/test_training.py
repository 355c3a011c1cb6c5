"""Runs: resume equals uninterrupted, and what may go wrong."""

import json
import os
import random
import re
import shutil
import signal

import numpy as np
import pytest

from bopkit import load_model, train_model
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow

TINY = {"filters": 4, "dense_units": 16, "epochs": 3, "batch_size": 32}


def train(output_dir, hparams_set="bop_digits", **kwargs):
    """A run of seconds."""
    hparams = {**TINY, **kwargs.pop("hparams", {})}
    options = {"limit_steps": 4, "tensorboard": False, "validationset": True, **kwargs}
    return train_model(
        "binarynet", "digits", hparams_set=hparams_set, hparams=hparams, output_dir=output_dir, **options
    )


def weights_of(run):
    return load_model(run / "model.h5")[0].get_weights()


def rows_of(run, kind="epoch"):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def shown(run, tag):
    """What TensorBoard shows of a run's training, by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard" / "train")).Reload().Tensors(tag)
    return {event.step: event.tensor_proto.float_val[0] for event in events}


def stop_after(epochs):
    """Arguments that make a run end as if it were killed right after the checkpoint of an epoch."""

    def on_epoch(row):
        if row["epoch"] == epochs:
            raise KeyboardInterrupt

    return {"on_epoch": on_epoch}


@pytest.mark.parametrize("hparams_set, precision", [("bop_digits", "bfloat16"), ("latent_digits", "float32")])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, hparams_set, precision):
    train(tmp_path / "whole", hparams_set, precision=precision)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", hparams_set, precision=precision, **stop_after(2))
    assert not (tmp_path / "broken" / "model_last.h5").exists()
    # A crash between row and checkpoint leaves a row too many.
    with open(tmp_path / "broken" / "metrics.jsonl", "a") as out:
        out.write('{"kind": "epoch", "epoch": 3, "step": 12}\n')
    result = train(tmp_path / "broken", hparams_set)  # in the precision that it began with
    assert result.resumed_after_epochs == 2
    assert {layer.compute_dtype for layer in load_model(result.model_file)[0].layers} == {"float32"}
    for resumed, whole in zip(weights_of(tmp_path / "broken"), weights_of(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(resumed, whole)
    losses = [[row["loss"] for row in rows_of(tmp_path / name)] for name in ("whole", "broken")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3


def test_what_a_run_leaves(tmp_path):
    said = []
    result = train(tmp_path / "run", tensorboard=True, progress=said.append)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("config.json", "environment.json", "metrics.jsonl", "checkpoints", "tensorboard", "lock"),
        *("model.h5", "model_last.h5"),
    }
    assert json.loads((tmp_path / "run" / "config.json").read_text())["hparams"]["filters"] == 4
    for name in ("loss", "learning_rate", "gamma", "threshold", "images_per_second", "flip_ratio"):
        assert shown(tmp_path / "run", name) == pytest.approx(
            {row["step"]: row[name] for row in rows_of(tmp_path / "run", "step")}
        )
    pi_t = {row["step"]: row["layers"]["dense3"]["pi_t"] for row in rows_of(tmp_path / "run", "step")}
    assert shown(tmp_path / "run", "pi_t/dense3") == pytest.approx(pi_t)
    assert sum("Bop     conv1/kernel" in line for line in said) == 1
    model, card = load_model(result.model_file)
    assert card.trained
    assert (card.architecture, card.dataset, card.preprocessing) == ("binarynet", "digits", "shift")
    assert card.hparams["filters"] == 4
    assert card.accuracy["val_top1"] == result.metrics["val_top1"]
    assert card.class_names == tuple("0123456789")
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            assert set(np.unique(layer.kernel.numpy())) == {-1.0, 1.0}


def test_flips_and_pi_are_what_the_kernels_show(tmp_path):
    """One step an epoch, so that the measured step is the whole difference between two checkpoints."""
    train(tmp_path / "run", limit_steps=1, keep=10)
    tf = import_tensorflow()

    def kernels(step):
        reader = tf.train.load_checkpoint(str(tmp_path / "run" / "checkpoints" / f"{step:08d}" / "state"))
        names = [n for n in reader.get_variable_to_shape_map() if "/kernel/" in n and "SLOT" not in n]
        return [reader.get_tensor(name) for name in sorted(names)]

    for step in (2, 3):
        flips = [np.sum(a != b) for a, b in zip(kernels(step), kernels(step - 1), strict=True)]
        weights = [kernel.size for kernel in kernels(step)]
        row, epoch = (rows_of(tmp_path / "run", kind)[step - 1] for kind in ("step", "epoch"))
        assert sorted(layer["flips"] for layer in row["layers"].values()) == sorted(flips)
        assert row["flip_ratio"] == epoch["flip_ratio"] == pytest.approx(sum(flips) / sum(weights), rel=1e-12)
        pi_t = sorted(np.log(np.array(flips) / weights + np.exp(-9)))
        assert sorted(layer["pi_t"] for layer in row["layers"].values()) == pytest.approx(pi_t, rel=1e-12)
    assert list(row["layers"]) == [*(f"conv{i}" for i in range(1, 7)), "dense1", "dense2", "dense3"]


def test_finished_and_foreign_directories(tmp_path):
    train(tmp_path / "run")
    before = (tmp_path / "run" / "model.h5").read_bytes()
    assert train(tmp_path / "run").resumed_after_epochs == 3
    assert (tmp_path / "run" / "model.h5").read_bytes() == before
    with pytest.raises(UsageError, match=r"another run: epochs is 3 there and 4 here\."):
        train(tmp_path / "run", hparams={"epochs": 4})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").touch()
    with pytest.raises(UsageError, match="holds no run"):
        train(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.txt"]


def damage(checkpoint, how):
    data = next(checkpoint.glob("state.data-*"))
    content = bytearray(data.read_bytes())
    if how == "truncate":
        data.write_bytes(content[: len(content) // 2])
    elif how == "flip":
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif how == "remove":
        data.unlink()
    elif how == "remove_index":
        (checkpoint / "state.index").unlink()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that ended after two of three epochs, and one that nothing ended."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        train(folder / "run", **stop_after(2))
    train(folder / "whole")
    return folder


@pytest.mark.parametrize("how", ["truncate", "flip", "remove", "remove_index"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, stopped, how):
    run = shutil.copytree(stopped / "run", tmp_path / "run")
    damage(run / "checkpoints" / "00000008", how)
    said = []
    result = train(run, progress=said.append)
    assert result.resumed_after_epochs == 1
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "checkpoints/00000008 is damaged" in warning
    assert [row["epoch"] for row in rows_of(run)] == [1, 2, 3]
    for resumed, whole in zip(weights_of(run), weights_of(stopped / "whole"), strict=True):
        np.testing.assert_array_equal(resumed, whole)


def test_damage_of_all_checkpoints_is_never_a_silent_start(tmp_path, stopped):
    run = shutil.copytree(stopped / "run", tmp_path / "run")
    rows = (run / "metrics.jsonl").read_text()
    for checkpoint in (run / "checkpoints").iterdir():
        damage(checkpoint, "flip")
    with pytest.raises(BopkitError, match="Every checkpoint in .* is damaged"):
        train(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(BopkitError, match="rows of 2 epochs and no checkpoint"):
        train(run)
    assert (run / "metrics.jsonl").read_text() == rows


def test_a_crash_before_the_first_checkpoint_starts_anew(tmp_path, monkeypatch):
    from bopkit.training.checkpoints import Checkpoints

    def crash(self, step):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run")
    assert len(rows_of(tmp_path / "run")) == 1
    assert train(tmp_path / "run").resumed_after_epochs == 0
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == [1, 2, 3]


def test_a_run_stopped_anywhere_ends_where_the_uninterrupted_one_does(tmp_path, stopped, monkeypatch):
    """Stopped at every step in turn, also in validations: rows and weights are those of one piece."""
    from bopkit.training.step import TrainStep

    train_once, evaluate = TrainStep.train_next, TrainStep.evaluate

    def train_and_stop(self, *arguments):
        os.kill(os.getpid(), rng.choice([signal.SIGTERM, signal.SIGINT]))
        return train_once(self, *arguments)

    def stop_in_every_other(self, batches, stop):
        if rng.random() < 0.5:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, batches, stop)

    rng = random.Random(0)
    monkeypatch.setattr(TrainStep, "train_next", train_and_stop)
    monkeypatch.setattr(TrainStep, "evaluate", stop_in_every_other)
    stops = 0
    while not (tmp_path / "run" / "model_last.h5").exists():
        try:
            train(tmp_path / "run")
        except (KeyboardInterrupt, SystemExit):
            stops += 1
        assert stops < 30
    assert stops > 12
    for resumed, whole in zip(weights_of(tmp_path / "run"), weights_of(stopped / "whole"), strict=True):
        np.testing.assert_array_equal(resumed, whole)
    timed = {"images_per_second", "epoch_seconds"}
    for kind in ("step", "epoch"):
        both = [rows_of(folder, kind) for folder in (tmp_path / "run", stopped / "whole")]
        here, there = ([{k: v for k, v in row.items() if k not in timed} for row in rows] for rows in both)
        assert here == there


def test_the_best_and_the_last_network_are_kept_and_early_stopping_waits(tmp_path, monkeypatch):
    """Validation figures are made up, so that the best epoch is not the last."""
    from bopkit.training.step import Sums, TrainStep

    right = iter([10, 30, 20, 30, 5])
    monkeypatch.setattr(TrainStep, "evaluate", lambda self, batches, stop: Sums(100, 50, next(right), 100))
    weights = []

    def keep_weights(row):
        weights.append(load_model(tmp_path / "run" / "model.h5")[0].get_weights())

    result = train(tmp_path / "run", hparams={"epochs": 9}, early_stop=2, on_epoch=keep_weights)
    assert [row["val_top1"] for row in rows_of(tmp_path / "run")] == [0.1, 0.3, 0.2, 0.3]  # then it is enough
    assert result.metrics["epoch"] == 2
    best, card = load_model(tmp_path / "run" / "model.h5")
    assert card.accuracy["val_top1"] == 0.3
    for kept, then in zip(best.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(kept, then)
    last, _ = load_model(tmp_path / "run" / "model_last.h5")
    assert any(np.any(a != b) for a, b in zip(last.get_weights(), best.get_weights(), strict=True))


def test_without_validation_pictures_the_last_network_is_the_model(tmp_path):
    train(tmp_path / "run", validationset=False)
    last, _ = load_model(tmp_path / "run" / "model_last.h5")
    for ours, theirs in zip(
        load_model(tmp_path / "run" / "model.h5")[0].get_weights(), last.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_dry_run_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = train(None, dry_run=True)
    assert result.model_file is None
    assert np.isfinite(result.metrics["loss"])
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_names_the_step(tmp_path):
    with pytest.raises(BopkitError, match=r"loss is (nan|inf) at step \d of epoch 1"):
        train(tmp_path / "run", hparams={"learning_rate": 1e38, "learning_rate_end": "none"})
    assert not (tmp_path / "run" / "model.h5").exists()
    train(tmp_path / "run", hparams={"learning_rate": 1e-3})  # what the hint says, in the same folder


def test_a_batch_that_cannot_fit_is_refused_with_one_that_can(tmp_path, monkeypatch):
    import types

    import psutil

    free = types.SimpleNamespace(available=3_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(BopkitError, match=r"batch of 400 needs at least .* GB") as caught:
        train(tmp_path / "run", hparams={"batch_size": 400})
    parts, fitting = map(
        int, re.search(r"--accumulate (\d+), or --hparams batch_size=(\d+)", str(caught.value)).groups()
    )
    assert parts > 1 and fitting < 400
    train(tmp_path / "accumulated", hparams={"batch_size": 400}, accumulate=parts)
    train(tmp_path / "run", hparams={"batch_size": fitting})


def test_silence(tmp_path, capfd):
    train(tmp_path / "run")
    captured = capfd.readouterr()
    assert "epoch" not in captured.out + captured.err


def test_a_card_says_how_many_pictures_its_accuracy_is_of(tmp_path):
    result = train(tmp_path / "run", validationset=False, limit_steps=1)
    _, card = load_model(result.model_file)
    assert (card.evaluated_on, card.evaluated_pictures, result.validation_pictures) == ("test", 100, 100)


@pytest.mark.parametrize("content", ['{"name": "x"}', "[1]", "", "{"])
def test_a_config_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match="no run of bopkit"):
        train(tmp_path)
    assert (tmp_path / "config.json").read_text() == content


def test_a_finished_run_without_its_metrics(tmp_path):
    train(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    with pytest.raises(BopkitError, match=r"metrics.jsonl is missing"):
        train(tmp_path / "run")


def test_two_new_runs_never_share_a_folder(tmp_path):
    from bopkit.training.run_directory import new_run_path

    assert len({new_run_path(tmp_path, "digits", "binarynet") for _ in range(5)}) == 5


def test_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"fewer than one batch of 5000.*batch_size="):
        train(tmp_path / "run", hparams={"batch_size": 5000})
    for wrong in ({"seed": -1}, {"seed": 2**31}, {"limit_steps": 0}):
        with pytest.raises(UsageError, match="Use a number from"):
            train(tmp_path / "run", **wrong)
    with pytest.raises(UsageError, match="auto, cpu, gpu"):
        train(tmp_path / "run", device="tpu")
    for wrong, message in (
        ({"strategy": "horovod"}, "Unknown strategy 'horovod'.*mirrored"),
        ({"strategy": "multiworker"}, "No cluster.*docs/distributed.md"),
        ({"precision": "float16"}, "Unknown precision 'float16'.*averages.*float32, bfloat16"),
        ({"accumulate": 5}, "batch of 32 is not divisible by 1 replica.* x 5 part.*batch_size=30"),
        ({"early_stop": 2, "validationset": False}, "Add --validationset"),
        ({"keep": 0}, "are positive"),
    ):
        with pytest.raises(UsageError, match=message):
            train(tmp_path / "run", **wrong)
    with pytest.raises(UsageError, match="217 x 217"):
        train_model("xnornet", "digits", output_dir=tmp_path / "run")


def test_figures_seen_during_training_are_called_so(tmp_path):
    said = []
    assert train(tmp_path / "run", validationset=False, progress=said.append).validation_split == "test"
    assert any("seen during training" in line for line in said)
