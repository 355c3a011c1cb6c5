"""Runs: resume equals uninterrupted, and what may go wrong."""

import json

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


def stop_after(epochs, monkeypatch):
    """Make the next run end as if it were killed right after the checkpoint of an epoch."""
    from bopkit.training.callbacks import EpochRecord

    original = EpochRecord.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch + 1 == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochRecord, "on_epoch_end", on_epoch_end)


@pytest.mark.parametrize("hparams_set", ["bop_digits", "default"])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, monkeypatch, hparams_set):
    train(tmp_path / "whole", hparams_set)
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "broken", hparams_set)
    assert not (tmp_path / "broken" / "model.h5").exists()
    # A crash between row and checkpoint leaves a row too many.
    with open(tmp_path / "broken" / "metrics.jsonl", "a") as out:
        out.write('{"epoch": 3}\n')
    result = train(tmp_path / "broken", hparams_set)
    assert result.resumed_after_epochs == 2
    for resumed, whole in zip(weights_of(tmp_path / "broken"), weights_of(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(resumed, whole)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "broken")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3


def test_what_a_run_leaves(tmp_path):
    said = []
    result = train(tmp_path / "run", tensorboard=True, progress=said.append)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "environment.json", "metrics.jsonl", "checkpoints", "tensorboard", "model.h5"}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["hparams"]["filters"] == 4
    assert list((tmp_path / "run" / "tensorboard" / "train").iterdir())
    assert sum("Bop   conv1/kernel" in line for line in said) == 1
    model, card = load_model(result.model_file)
    assert card.trained
    assert (card.architecture, card.dataset, card.preprocessing) == ("binarynet", "digits", "shift")
    assert card.hparams["filters"] == 4
    assert card.accuracy["val_top1"] == result.metrics["val_top1"]
    assert card.class_names == tuple("0123456789")
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            assert set(np.unique(layer.kernel.numpy())) == {-1.0, 1.0}


def test_the_flip_ratio_is_what_the_kernels_show(tmp_path, monkeypatch):
    """One step an epoch, so that the measured step is the whole difference between two checkpoints."""
    from bopkit.training import trainer

    monkeypatch.setattr(trainer, "CHECKPOINTS_KEPT", 10)
    train(tmp_path / "run", limit_steps=1)
    tf = import_tensorflow()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]

    def kernels(epoch):
        reader = tf.train.load_checkpoint(str(tmp_path / "run" / "checkpoints" / f"ckpt-{epoch}"))
        names = [n for n in reader.get_variable_to_shape_map() if "/kernel/" in n and "SLOT" not in n]
        return np.concatenate([reader.get_tensor(name).ravel() for name in sorted(names)])

    for epoch in (2, 3):
        flips = np.mean(kernels(epoch) != kernels(epoch - 1))
        assert rows[epoch - 1]["flip_ratio"] == pytest.approx(flips, rel=1e-6)
    assert rows[0]["flip_ratio"] > 0


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


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "remove_state", "garble_state", "empty_state"])
def test_a_damaged_checkpoint_is_an_error_that_names_it(tmp_path, monkeypatch, damage):
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run")
    data = next((tmp_path / "run" / "checkpoints").glob("ckpt-2.data-*"))
    state = tmp_path / "run" / "checkpoints" / "checkpoint"
    content = bytearray(data.read_bytes())
    if damage == "truncate":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif damage == "remove":
        data.unlink()
    elif damage == "remove_state":
        state.unlink()
    else:
        state.write_text("garbage" if damage == "garble_state" else "")
    name = "checkpoint" if "state" in damage else "ckpt-2"
    rows = (tmp_path / "run" / "metrics.jsonl").read_text()
    with pytest.raises(BopkitError, match=rf"checkpoints/{name} is damaged"):
        train(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == rows


def test_a_crash_before_the_first_checkpoint_starts_anew(tmp_path, monkeypatch):
    from bopkit.training.callbacks import EpochRecord

    def crash(self, epoch, logs=None):
        self._run.append_metrics({"epoch": 1})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochRecord, "on_epoch_end", crash)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run")
    assert train(tmp_path / "run").resumed_after_epochs == 0
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


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
    with pytest.raises(BopkitError, match=r"batch of 400 needs at least .* GB.*batch_size=\d+") as caught:
        train(tmp_path / "run", hparams={"batch_size": 400})
    fitting = int(caught.value.hint.rstrip(".").split("=")[1])
    assert fitting < 400
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
    with pytest.raises(UsageError, match="217 x 217"):
        train_model("xnornet", "digits", output_dir=tmp_path / "run")


def test_figures_seen_during_training_are_called_so(tmp_path):
    said = []
    assert train(tmp_path / "run", validationset=False, progress=said.append).validation_split == "test"
    assert any("seen during training" in line for line in said)
