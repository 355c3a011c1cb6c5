"""`refresh_model`: the statistics that a run of the default would have had; strangers' files; what is refused."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bopkit import load_model, read_card, refresh_model, train_model
from bopkit.benchmark.evaluate import Evaluation
from bopkit.benchmark.refresh import Refreshed
from bopkit.cli.main import app
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run with the moving averages of training, and with statistics anew."""
    hparams = {"filters": 4, "epochs": 2, "batch_size": 32, "randaugment_count": 1}
    options = {"hparams_set": "bop_digits", "hparams": hparams, "tensorboard": False, "precision": "float32"}
    return [
        train_model(
            "tiny.network",
            "digits",
            output_dir=tmp_path_factory.mktemp(name) / "run",
            batch_norm_pictures=pictures,
            **options,
        ).output_dir
        for name, pictures in (("averages", 0), ("anew", None))
    ]


def test_a_refreshed_file_is_that_of_the_run_with_statistics_anew(runs, tmp_path):
    averages, anew = runs
    found = refresh_model(averages, tmp_path / "refreshed.h5")
    for value, expected in zip(
        load_model(tmp_path / "refreshed.h5").get_weights(), load_model(anew / "model.h5").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(value, expected)
    card, expected = read_card(tmp_path / "refreshed.h5"), read_card(anew / "model.h5")
    assert card.accuracy == expected.accuracy
    assert (card.evaluated_on, card.evaluated_pictures) == ("test", 364)
    assert found.before.top1 == read_card(averages / "model.h5").accuracy["val_top1"]
    assert found.after.top1 == expected.accuracy["val_top1"] > found.before.top1
    assert (found.trained_on, found.batch_norm_pictures) == ("train", 1000)


def test_a_strangers_file_gets_a_card_with_what_its_user_named(runs, tmp_path):
    load_model(runs[0] / "model.h5").save(tmp_path / "theirs.keras")
    command = ["refresh", str(tmp_path / "theirs.keras"), "--dataset", "digits", "--preprocess-fn", "shift"]
    result = CliRunner().invoke(app, [*command, "--limit", "50"])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'theirs_refreshed.h5'}\n"
    assert " before, " in result.stderr and " on 50 pictures of digits test" in result.stderr
    card = read_card(tmp_path / "theirs_refreshed.h5")
    assert (card.preprocessing, card.dataset, card.evaluated_pictures) == ("shift", "digits", 50)
    assert card.class_names == tuple("0123456789")


def test_what_is_said_of_a_file_that_got_worse(monkeypatch):
    before = Evaluation("model.h5", "mine", "digits", "test", 50, "shift", "model card", 0.9, (0.8, 0.95), *[None] * 5)
    after = dataclasses.replace(before, model="other.h5", top1=0.8, confusion=((0, 0, 1),) * 1000)
    found = Refreshed("model.h5", "other.h5", "train", 1, before, after)
    monkeypatch.setattr("bopkit.benchmark.refresh.refresh_model", lambda *args, **options: found)
    said = CliRunner().invoke(app, ["refresh", "model.h5"]).stderr
    assert "90.00 % before, 80.00 % after" in said
    assert "model.h5 was better, and is as it was" in said
    values = json.loads(CliRunner().invoke(app, ["refresh", "model.h5", "--json"]).stdout)
    assert values["after"]["top1"] == 0.8 and "confusion" not in values["after"]


def test_what_is_refused(runs, tmp_path):
    model = runs[0] / "model.h5"
    with pytest.raises(UsageError, match=r"Splits test and test .* share pictures.*train\[90%:\]"):
        refresh_model(model, tmp_path / "a.h5", train_split="test")
    with pytest.raises(UsageError, match=r"does not end in .h5. Try .*a.h5"):
        refresh_model(model, tmp_path / "a.keras")
    with pytest.raises(UsageError, match="pictures is 0"):
        refresh_model(model, tmp_path / "a.h5", pictures=0)
    keras = import_tensorflow().keras
    keras.Sequential([keras.layers.Flatten(input_shape=(32, 32, 1)), keras.layers.Dense(10)]).save(tmp_path / "b.h5")
    with pytest.raises(BopkitError, match="has no batch norm, or only frozen ones"):
        refresh_model(tmp_path / "b.h5", dataset="digits", preprocess_fn="shift")
    before = (tmp_path / "b.h5").read_bytes()
    with pytest.raises(UsageError, match="b.h5 exists already. Name another file with --output"):
        refresh_model(model, tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.h5"]
