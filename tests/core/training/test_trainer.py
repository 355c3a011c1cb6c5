"""Runs: resume equals uninterrupted, and what may go wrong."""

import json
import os
import random
import re
import shutil
import signal
import types
from pathlib import Path

import numpy as np
import pytest

from bopkit import load_model, read_card, train_model
from bopkit.benchmark.evaluate import evaluate_model
from bopkit.errors import BopkitError, UsageError
from bopkit.export.pictures import real_pictures
from bopkit.keras2 import import_tensorflow
from bopkit.runs.directory import Place, list_places
from bopkit.runs.summary import list_runs
from bopkit.training.checkpoints import Checkpoints
from bopkit.training.step import Sums, TrainStep
from bopkit.training.stop_signals import StopRequest

pytestmark = pytest.mark.integration

TINY = {"filters": 4, "epochs": 3, "batch_size": 32}


def train(output_dir, hparams_set="bop_digits", **kwargs):
    """A run of seconds."""
    hparams = {**TINY, **kwargs.pop("hparams", {})}
    options = {"limit_steps": 4, "tensorboard": False, "validationset": True, **kwargs}
    return train_model(
        "tiny.network", "digits", hparams_set=hparams_set, hparams=hparams, output_dir=output_dir, **options
    )


def weights_of(run):
    return load_model(run / "model.h5").get_weights()


def rows_of(run, kind="epoch"):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def shown(run, tag, part="train"):
    """What TensorBoard shows of a run: steps and values."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    everything = {"tensors": 0}
    events = EventAccumulator(str(run / "tensorboard" / part), everything).Reload().Tensors(tag)
    return [(event.step, event.tensor_proto.float_val[0]) for event in events]


def figures(rows, name, step="step"):
    """The same of rows, as float32 as TensorBoard has them."""
    return [(row[step], np.float32(row[name])) for row in rows]


def validate_as(monkeypatch, sums):
    """Make validations come to what `sums` returns, each time it is called."""
    monkeypatch.setattr(TrainStep, "evaluate", lambda self, batches, stop: sums() if list(batches) else Sums())


def stop_after(epochs):
    """Arguments that make a run end as if it were killed right after the checkpoint of an epoch."""

    def on_epoch(row):
        if row["epoch"] == epochs:
            raise KeyboardInterrupt

    return {"on_epoch": on_epoch}


COSINE = {
    **{"gamma_schedule": "cosine", "learning_rate_schedule": "cosine", "threshold_warmup_epochs": 2},
    **{"gamma_warmup_epochs": 1, "learning_rate_warmup_epochs": 1},
}


@pytest.mark.parametrize(
    "hparams_set, precision, schedules", [("bop_digits", "bfloat16", COSINE), ("latent_digits", "float32", {})]
)
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, hparams_set, precision, schedules):
    train(tmp_path / "whole", hparams_set, precision=precision, hparams=schedules)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", hparams_set, precision=precision, hparams=schedules, **stop_after(2))
    assert not (tmp_path / "broken" / "model_last.h5").exists()
    # A crash between row and checkpoint leaves a row too many.
    with open(tmp_path / "broken" / "metrics.jsonl", "a") as out:
        out.write('{"kind": "epoch", "epoch": 3, "step": 12}\n')
    result = train(tmp_path / "broken", hparams_set, hparams=schedules)  # in the precision that it began with
    assert result.resumed_after_epochs == 2
    assert {layer.compute_dtype for layer in load_model(result.model_file).layers} == {"float32"}
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
        assert shown(tmp_path / "run", name) == figures(rows_of(tmp_path / "run", "step"), name)
    pi_t = [(row["step"], np.float32(row["layers"]["dense1"]["pi_t"])) for row in rows_of(tmp_path / "run", "step")]
    assert shown(tmp_path / "run", "pi_t/dense1") == pi_t
    epochs = rows_of(tmp_path / "run")
    assert shown(tmp_path / "run", "epoch_loss") == figures(epochs, "loss", "epoch")
    assert shown(tmp_path / "run", "epoch_loss", "validation") == figures(epochs, "val_loss", "epoch")
    assert sum(line.startswith("Bop trains 3 variables (") and "; --verbose names them" in line for line in said) == 1
    model, card = load_model(result.model_file), read_card(result.model_file)
    assert card.trained
    assert (card.architecture, card.dataset, card.preprocessing) == ("tiny", "digits", "shift")
    assert card.hparams["filters"] == 4
    assert (card.trained_on, card.evaluated_on) == ("train[:90%]", "train[90%:]")
    assert card.accuracy["val_top1"] == result.metrics["val_top1"]
    assert card.class_names == tuple("0123456789")
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            assert set(np.unique(layer.kernel.numpy())) == {-1.0, 1.0}


def test_what_follows_finds_the_dataset_as_the_run_did(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "digits_of_a_run.py").write_text("from bopkit.data.digits import open_dataset")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    options = {"hparams_set": "bop_digits", "hparams": {**TINY, "epochs": 1}, "limit_steps": 1, "tensorboard": False}
    result = train_model("tiny.network", "digits_of_a_run", data_dir="data", output_dir="run", **options)
    data = json.loads(Path("run/environment.json").read_text())["data"]
    assert (data["dataset"], data["data_dir"]) == ("digits_of_a_run", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = evaluate_model(tmp_path / result.model_file, limit=20)
    assert (found.dataset, found.split) == ("digits_of_a_run", "test")
    pictures = real_pictures((32, 32, 1), None, None, None, 4, tmp_path / result.model_file)
    assert pictures.source == "digits test split"


def test_flips_and_pi_are_what_the_kernels_show(tmp_path):
    """One step an epoch, so that the measured step is the whole difference between two checkpoints."""
    train(tmp_path / "run", limit_steps=1, keep=10)
    tf = import_tensorflow()

    def kernels(step):
        reader = tf.train.load_checkpoint(str(tmp_path / "run" / "checkpoints" / str(Place(step, 0)) / "state"))
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
    assert list(row["layers"]) == ["conv1", "conv2", "dense1"]


CONSTANT = {"gamma_end": "none", "learning_rate_end": "none"}
STAIRCASE = {**CONSTANT, "gamma_decay_rate": 0.5, "gamma_decay_epochs": 1}


def extended_config(run):
    config = json.loads((run / "config.json").read_text())
    return {name: config.get(name) for name in ("extended_after", "schedule_epochs")}


@pytest.mark.parametrize("schedule", [CONSTANT, STAIRCASE], ids=["constant", "staircase"])
@pytest.mark.parametrize("is_finished", [True, False])
def test_a_run_made_longer_is_bit_for_bit_the_longer_run(tmp_path, schedule, is_finished):
    """From one epoch to three, after it was finished or stopped; and the longer one is stopped once more."""
    options = {"validationset": is_finished, "limit_steps": 2}
    if not is_finished:  # it has an epoch to spare
        schedule = {**schedule, "learning_rate_warmup_epochs": 1, "gamma_warmup_epochs": 1}
    train(tmp_path / "whole", hparams={**schedule, "epochs": 3}, **options)
    said = []
    if is_finished:
        train(tmp_path / "run", hparams={**schedule, "epochs": 1}, **options)
    else:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", hparams={**schedule, "epochs": 2}, **options, **stop_after(1))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", hparams={**schedule, "epochs": 3}, extend=True, **options, **stop_after(2))
    assert not (tmp_path / "run" / "model_last.h5").exists()
    result = train(tmp_path / "run", hparams={**schedule, "epochs": 3}, extend=True, progress=said.append, **options)
    assert result.resumed_after_epochs == 2
    before = 1 if is_finished else 2
    assert extended_config(tmp_path / "run") == {"extended_after": [before], "schedule_epochs": None}
    assert any(f"made longer, from {before} to 3 epochs: no schedule depends on the length" in line for line in said)
    for name in ("model.h5", "model_last.h5"):
        pair = (load_model(tmp_path / run / name).get_weights() for run in ("run", "whole"))
        for extended, whole in zip(*pair, strict=True):
            np.testing.assert_array_equal(extended, whole)
        assert read_card(tmp_path / "run" / name).schedule_epochs is None
    timeless = [
        [{name: value for name, value in row.items() if "second" not in name} for row in rows_of(tmp_path / run)]
        for run in ("run", "whole")
    ]
    assert timeless[0] == timeless[1] and len(timeless[0]) == 3


def test_schedules_over_the_whole_run_keep_their_steps_and_hold_their_end(tmp_path):
    said = []
    options = {"limit_steps": 2, "log_every": 1}
    schedule = {"gamma_schedule": "cosine", "gamma_warmup_epochs": 1}
    train(tmp_path / "run", hparams={**schedule, "epochs": 2}, **options)
    before = rows_of(tmp_path / "run", "step")
    assert [row["gamma"] for row in before] == pytest.approx([5e-4, 1e-3, 1e-3, (1e-3 + 1e-5) / 2])
    for epochs in (3, 4):
        train(tmp_path / "run", hparams={**schedule, "epochs": epochs}, extend=True, progress=said.append, **options)
    steps = rows_of(tmp_path / "run", "step")
    assert steps[:4] == before and len(steps) == 8
    assert [row["gamma"] for row in steps[4:]] == pytest.approx([1e-5] * 4)  # the set goes from 1e-3 to this
    assert extended_config(tmp_path / "run") == {"extended_after": [2, 3], "schedule_epochs": 2}
    assert any("from 2 to 3 to 4 epochs: gamma and learning_rate come to their end after epoch 2" in s for s in said)
    card = read_card(tmp_path / "run" / "model_last.h5")
    assert (card.hparams["epochs"], card.schedule_epochs) == (4, 2)
    (summary,) = list_runs(tmp_path)
    assert (summary.state, summary.epochs, summary.epochs_done) == ("finished", 4, 4)


def test_what_cannot_be_made_longer_is_told(tmp_path, stopped):
    run = shutil.copytree(stopped / "whole", tmp_path / "run")
    files = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(UsageError, match=r"epochs is 3 there and 4 here\. Add --extend to train it for longer"):
        train(run, hparams={"epochs": 4})
    with pytest.raises(UsageError, match=r"epochs is 3 there and 2 here\. A run cannot be made shorter"):
        train(run, hparams={"epochs": 2}, extend=True)
    with pytest.raises(UsageError, match=r"another run: filters is 4 there and 8 here\. Repeat its options"):
        train(run, hparams={"epochs": 4, "filters": 8}, extend=True)
    assert train(run, extend=True).resumed_after_epochs == 3  # no more epochs than it has
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(BopkitError, match="rows of 3 epochs but no checkpoint"):
        train(run, hparams={"epochs": 4}, extend=True)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == files
    with pytest.raises(UsageError, match="there is none in .*nosuch. Name it with --output-dir"):
        train(tmp_path / "nosuch", extend=True)
    assert not (tmp_path / "nosuch").exists()


def test_finished_and_foreign_directories(tmp_path, stopped):
    shutil.copytree(stopped / "whole", tmp_path / "run")
    before = (tmp_path / "run" / "model.h5").read_bytes()
    assert train(tmp_path / "run").resumed_after_epochs == 3
    assert (tmp_path / "run" / "model.h5").read_bytes() == before
    with pytest.raises(UsageError, match=r"another run: jit is False there and True here\. Repeat its options"):
        train(tmp_path / "run", jit=True)
    with pytest.raises(UsageError, match=r"another run: deterministic is False there and True here\."):
        train(tmp_path / "run", deterministic=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").touch()
    with pytest.raises(UsageError, match="is not a run directory"):
        train(tmp_path / "photos")
    with pytest.raises(UsageError, match="a.txt is a file, not a folder"):
        train(tmp_path / "photos" / "a.txt")
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


@pytest.mark.parametrize(
    "how",
    [
        "truncate",
        pytest.param("flip", marks=pytest.mark.release),
        "remove",
        pytest.param("remove_index", marks=pytest.mark.release),
    ],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, stopped, how):
    run = shutil.copytree(stopped / "run", tmp_path / "run")
    damage(run / "checkpoints" / "epoch0002-step000000", how)
    said = []
    result = train(run, progress=said.append)
    assert result.resumed_after_epochs == 1
    (warning,) = [line for line in said if line.startswith("Warning:")]
    assert "checkpoints/epoch0002-step000000 is damaged" in warning
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
    with pytest.raises(BopkitError, match="rows of 2 epochs but no checkpoint"):
        train(run)
    assert (run / "metrics.jsonl").read_text() == rows


def test_a_crash_before_the_first_checkpoint_starts_anew(tmp_path, monkeypatch):
    def crash(self, place, sums):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run")
    assert len(rows_of(tmp_path / "run")) == 1
    assert train(tmp_path / "run").resumed_after_epochs == 0
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == [1, 2, 3]


@pytest.mark.release
def test_a_run_stopped_anywhere_ends_where_the_uninterrupted_one_does(tmp_path, monkeypatch):
    """Stopped at every step in turn, also in validations: rows and weights are those of one piece."""
    steps = 4
    train(tmp_path / "whole", limit_steps=steps)
    train_once, evaluate = TrainStep.train_next, TrainStep.evaluate

    def train_and_stop(self, *arguments):
        os.kill(os.getpid(), rng.choice([signal.SIGTERM, signal.SIGINT]))
        return train_once(self, *arguments)

    def stop_in_every_other(self, batches, stop=None):  # it has one but where the finished network is measured
        if stop is not None and rng.random() < 0.5:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, batches, stop or (lambda: False))

    rng = random.Random(0)
    monkeypatch.setattr(TrainStep, "train_next", train_and_stop)
    monkeypatch.setattr(TrainStep, "evaluate", stop_in_every_other)
    stops = 0
    while not (tmp_path / "run" / "model_last.h5").exists():
        try:
            train(tmp_path / "run", limit_steps=steps)
        except (KeyboardInterrupt, SystemExit):
            stops += 1
        assert stops < 30
    assert stops > 3 * steps
    for resumed, whole in zip(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(resumed, whole)
    timed = {"images_per_second", "epoch_seconds"}
    for kind in ("step", "epoch"):
        both = [rows_of(tmp_path / name, kind) for name in ("run", "whole")]
        here, there = ([{k: v for k, v in row.items() if k not in timed} for row in rows] for rows in both)
        assert here == there


def test_the_best_and_the_last_network_are_kept_and_early_stopping_waits(tmp_path, monkeypatch):
    """Validation figures are made up, so that the best epoch is not the last."""
    right = iter([10, 30, 20, 30, 5])
    validate_as(monkeypatch, lambda: Sums(100, 50, next(right), 100))
    weights = []

    def keep_weights(row):
        weights.append(load_model(tmp_path / "run" / "model.h5").get_weights())

    result = train(tmp_path / "run", hparams={"epochs": 9}, early_stop=2, precision="float32", on_epoch=keep_weights)
    assert [row["val_top1"] for row in rows_of(tmp_path / "run")] == [0.1, 0.3, 0.2, 0.3]  # then it is enough
    assert result.metrics["epoch"] == 2
    best, card = (read(tmp_path / "run" / "model.h5") for read in (load_model, read_card))
    assert card.accuracy["val_top1"] == 0.3
    for kept, then in zip(best.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(kept, then)
    last = load_model(tmp_path / "run" / "model_last.h5")
    assert any(np.any(a != b) for a, b in zip(last.get_weights(), best.get_weights(), strict=True))


@pytest.mark.parametrize("is_deleted", [False, pytest.param(True, marks=pytest.mark.release)])
def test_rows_card_and_evaluation_have_one_accuracy(tmp_path, is_deleted):
    """In bfloat16 too: what is validated is what the files hold. A user may have deleted `model.h5` before the end."""
    run, said = tmp_path / "run", []

    def delete(row):
        if is_deleted:
            (run / "model.h5").unlink(missing_ok=True)

    results = [train(run, precision="bfloat16", limit_steps=8, on_epoch=delete, progress=said.append)]
    results.append(train(run, limit_steps=8, progress=said.append))  # a finished one is looked up
    assert sum("the best network, is missing" in line for line in said) == is_deleted
    rows = rows_of(run)
    best = rows[-1] if is_deleted else max(rows, key=lambda row: row["val_top1"])
    for name, row in (("model.h5", best), ("model_last.h5", rows[-1])):
        measured = evaluate_model(run / name, split="train[90%:]")
        card = read_card(run / name)
        for figure, value in (("val_top1", measured.top1), ("val_top5", measured.top5)):
            assert card.accuracy[figure] == row[figure] == pytest.approx(value, abs=1e-12)
    for result in results:
        assert result.metrics["val_top1"] == best["val_top1"]
        assert result.metrics["epoch"] == best["epoch"]


def test_without_validation_pictures_the_last_network_is_the_model(tmp_path):
    """And accuracy on pictures that were seen during training is called so."""
    said = []
    assert train(tmp_path / "run", validationset=False, progress=said.append).validation_split == "test"
    assert any("seen during training" in line for line in said)
    last = load_model(tmp_path / "run" / "model_last.h5")
    for ours, theirs in zip(load_model(tmp_path / "run" / "model.h5").get_weights(), last.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_dry_run_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = train(None, dry_run=True)
    assert result.model_file is None
    assert np.isfinite(result.metrics["loss"])
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_names_the_step(tmp_path):
    with pytest.raises(BopkitError, match=r"loss is (nan|inf) at step 2 of epoch 1.*another --output-dir"):
        train(tmp_path / "run", hparams={"learning_rate": 1e38, "learning_rate_end": "none"})
    assert not (tmp_path / "run" / "model.h5").exists()


@pytest.mark.parametrize("what", ["weight", pytest.param("validation loss", marks=pytest.mark.release)])
def test_what_the_last_step_of_an_epoch_ruined_is_not_kept(tmp_path, monkeypatch, what):
    """The loss of that step is still finite: only its update is not."""
    train_once, steps = TrainStep.train_next, iter(range(1, 13))

    def ruin(self, *arguments):
        result = train_once(self, *arguments)
        if next(steps) == 8:
            first = self._network.trainable_variables[0]  # the sign behind it hides the NaN from the loss
            first.assign(first * np.nan)
        return result

    if what == "weight":
        monkeypatch.setattr(TrainStep, "train_next", ruin)
    else:
        losses = iter([50, np.nan])
        validate_as(monkeypatch, lambda: Sums(100, next(losses), 10, 100))
    with pytest.raises(BopkitError, match=rf"{what} is (not finite|nan) after step 4 of epoch 2.*another --output-dir"):
        train(tmp_path / "run")
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == [1]
    assert list_places(tmp_path / "run" / "checkpoints") == [Place(1, 0)]


def test_a_batch_that_cannot_fit_is_refused_with_one_that_can(tmp_path, monkeypatch):
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
    card = read_card(result.model_file)
    assert (card.evaluated_on, card.evaluated_pictures, result.validation_pictures) == ("test", 100, 100)


@pytest.mark.parametrize("content", ['{"name": "x"}', "[1]", "", "{"])
def test_a_config_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match="does not belong to a run"):
        train(tmp_path)
    assert (tmp_path / "config.json").read_text() == content


def test_a_finished_run_without_its_metrics(tmp_path, stopped):
    shutil.copytree(stopped / "whole", tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    with pytest.raises(BopkitError, match=r"metrics.jsonl is missing"):
        train(tmp_path / "run")


def test_rows_that_disagree_with_the_checkpoint_are_an_error(tmp_path, stopped):
    run = shutil.copytree(stopped / "run", tmp_path / "run")
    rows = [row for row in rows_of(run, "step") + rows_of(run) if (row["kind"], row["epoch"]) != ("epoch", 1)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BopkitError, match=r"metrics.jsonl has rows of epochs \[2\], but 2 epochs were trained"):
        train(run)


def test_a_finished_run_needs_no_lock_and_no_device(tmp_path, stopped, monkeypatch):
    """It may be in a read-only folder, and the other workers may be gone."""
    shutil.copytree(stopped / "whole", tmp_path / "run")
    (tmp_path / "run" / "lock").unlink()
    workers = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    assert train(tmp_path / "run").resumed_after_epochs == 3
    assert not (tmp_path / "run" / "lock").exists()


def test_a_kill_between_two_renames_loses_no_checkpoint(tmp_path, stopped, monkeypatch):
    """A checkpoint on the last step of an epoch, then the epoch's own: killed right after the first rename of each."""
    run = shutil.copytree(stopped / "run", tmp_path / "run")
    rename = Path.rename

    def rename_and_die(self, target):
        rename(self, target)
        if list_places(run / "checkpoints")[-1] >= Place(2, 4):
            raise KeyboardInterrupt

    deaths = []
    while not (run / "model_last.h5").exists():
        with monkeypatch.context() as patch:
            if len(deaths) < 2:
                patch.setattr(Path, "rename", rename_and_die)
            try:
                train(run, checkpoint_every_minutes=1e-9, keep=1)
            except KeyboardInterrupt:
                deaths.append(list_places(run / "checkpoints")[-1])
    assert deaths == [Place(2, 4), Place(3, 0)]
    for resumed, whole in zip(weights_of(run), weights_of(stopped / "whole"), strict=True):
        np.testing.assert_array_equal(resumed, whole)


def test_an_epoch_that_is_resumed_after_its_last_step_has_a_speed(tmp_path, monkeypatch):
    def stop(self, batches, stop):
        os.kill(os.getpid(), signal.SIGTERM)
        return Sums()

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(TrainStep, "evaluate", stop)
        train(tmp_path / "run")
    train(tmp_path / "run")
    assert rows_of(tmp_path / "run")[0]["images_per_second"] > 0
    assert rows_of(tmp_path / "run")[0]["learning_rate"] == rows_of(tmp_path / "run", "step")[0]["learning_rate"]


def test_rows_have_the_hyper_parameters_of_their_own_step(tmp_path):
    train(tmp_path / "run", hparams={"learning_rate": 1e-2, "learning_rate_end": 1e-4}, log_every=1)
    rates = [row["learning_rate"] for row in rows_of(tmp_path / "run", "step")]
    assert rates == pytest.approx([1e-2 - (1e-2 - 1e-4) * step / 12 for step in range(12)], rel=1e-5)
    assert [row["learning_rate"] for row in rows_of(tmp_path / "run")] == rates[3::4]


def test_tensorboard_shows_no_step_twice(tmp_path, monkeypatch):
    """Killed after rows that no checkpoint has behind it: they are trained and shown again."""
    train_once, steps = TrainStep.train_next, iter(range(1, 13))

    def train_and_die(self, *arguments):
        if next(steps) == 8:
            raise KeyboardInterrupt
        return train_once(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainStep, "train_next", train_and_die)
        train(tmp_path / "run", tensorboard=True, log_every=1)
    assert [step for step, _ in shown(tmp_path / "run", "loss")] == [1, 2, 3, 4, 5, 6, 7]
    train(tmp_path / "run", tensorboard=True, log_every=1)
    assert shown(tmp_path / "run", "loss") == figures(rows_of(tmp_path / "run", "step"), "loss")
    assert shown(tmp_path / "run", "epoch_top1") == figures(rows_of(tmp_path / "run"), "top1", "epoch")


def test_a_signal_handler_that_python_did_not_set():
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest()
    try:
        with stop:
            stop._before[signal.SIGTERM] = None  # what `signal.signal` answers for one that C code has set
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_two_new_runs_never_share_a_folder(tmp_path):
    from bopkit.runs.directory import new_run_path

    assert len({new_run_path(tmp_path, "digits", "binarynet") for _ in range(5)}) == 5


def test_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"fewer than one batch of 5000.*batch_size="):
        train(tmp_path / "run", hparams={"batch_size": 5000})
    for wrong in ({"seed": -1}, {"seed": 2**31}, {"limit_steps": 0}):
        with pytest.raises(UsageError, match="Use (a number from|1 or more)"):
            train(tmp_path / "run", **wrong)
    with pytest.raises(UsageError, match="auto, cpu, gpu"):
        train(tmp_path / "run", device="tpu")
    for wrong, message in (
        ({"strategy": "horovod"}, "Unknown strategy 'horovod'.*mirrored"),
        ({"strategy": "multiworker"}, "No cluster.*docs/distributed.md"),
        ({"precision": "float16"}, "Unknown precision 'float16'.*averages.*float32, bfloat16"),
        ({"accumulate": 5}, "batch of 32 is not divisible by 1 replica.* x 5 part.*batch_size=30"),
        ({"early_stop": 2, "validationset": False}, "Add --validationset"),
        ({"keep": 0}, r"keep is 0\. Use 1 or more"),
        ({"log_every": -1}, r"log_every is -1\. Use 1 or more"),
        ({"checkpoint_every_minutes": 0}, r"checkpoint_every_minutes is 0\. Use a number above 0"),
        ({"checkpoint_every_minutes": float("nan")}, r"checkpoint_every_minutes is nan\."),
    ):
        with pytest.raises(UsageError, match=message):
            train(tmp_path / "run", **wrong)
    with pytest.raises(UsageError, match="217 x 217"):
        train_model("xnornet", "digits", output_dir=tmp_path / "run")
