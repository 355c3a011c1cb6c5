"""What tells runs apart in a legend."""

import dataclasses
import json

import pytest
from written_runs import write_run

from bopkit.batch_norm import DEFAULT_PICTURES
from bopkit.hparams import BUILT_IN
from bopkit.models import binarynet
from bopkit.runs.labels import applies, label_runs
from bopkit.runs.summary import summarise_run


def run_of_set(path, hparams_set, model="binarynet", settings=None, **changes):
    """A run with all values of a set but for the changes."""
    write_run(path)
    config = json.loads((path / "config.json").read_text())
    hparams = {**binarynet.ARCHITECTURE.hparams(hparams_set).model_dump(), **changes}
    (path / "config.json").write_text(
        json.dumps({**config, **(settings or {}), "model": model, "hparams_set": hparams_set, "hparams": hparams})
    )
    return summarise_run(path)


def test_sets_are_named_and_what_follows_from_them_is_not(tmp_path):
    bop, latent = run_of_set(tmp_path / "bop", "bop"), run_of_set(tmp_path / "latent", "latent")
    assert label_runs([bop, latent]) == ["bop", "latent"]
    changed = run_of_set(tmp_path / "changed", "bop", gamma=2e-3)
    # gamma is nothing of the run with latent weights, though its config has one.
    assert label_runs([bop, changed, latent]) == ["bop, gamma=1e-3", "bop, gamma=2e-3", "latent"]
    assert label_runs([bop, changed]) == ["gamma=1e-3", "gamma=2e-3"]  # the title names the set
    narrow = run_of_set(tmp_path / "narrow", "latent", filters=32)
    assert label_runs([bop, narrow]) == ["bop, filters=128", "latent, filters=32"]


def test_the_number_of_pictures_for_statistics_is_told_where_it_does_not_follow_from_the_set(tmp_path):
    def run(name, pictures):
        return run_of_set(tmp_path / f"{name}{pictures}", name, settings={"batch_norm_pictures": pictures})

    bop, latent, averages = run("bop", DEFAULT_PICTURES), run("latent", 0), run("bop", 0)
    assert label_runs([bop, latent]) == ["bop", "latent"]
    assert label_runs([bop, averages]) == [f"batch_norm_pictures={pictures}" for pictures in (1000, 0)]


def test_a_network_that_is_not_of_the_zoo_tells_all_that_applies(tmp_path):
    runs = [run_of_set(tmp_path / each, each, model="os") for each in ("bop", "latent")]  # a name, never imported
    bop, latent = label_runs(runs)
    assert bop.startswith("bop, optimizer=bop") and latent.startswith("latent, optimizer=latent")
    assert "gamma" not in latent and "threshold" not in latent


def test_damaged_runs_have_a_name(tmp_path):
    runs = [run_of_set(tmp_path / each, each) for each in ("bop", "latent")]
    damaged = dataclasses.replace(runs[0], path=str(tmp_path / "damaged"), hparams_set=None, settings={})
    assert label_runs([*runs, damaged])[2].endswith("(damaged)") or label_runs([*runs, damaged])[2] == "damaged"


@pytest.mark.parametrize(
    ("name", "optimizers"),
    [
        ("gamma", {"bop", "bop2nd", "cema"}),
        ("gamma_end", {"bop", "bop2nd", "cema"}),
        ("threshold", {"bop", "bop2nd"}),
        ("alpha", {"cema"}),
        ("eta_schedule", {"bold"}),
        ("moments", {"bop2nd"}),
        ("learning_rate", {*BUILT_IN}),
    ],
)
def test_what_applies_to_which_optimizer(name, optimizers):
    assert {each for each in BUILT_IN if applies(name, each)} == optimizers
    assert applies(name, "my_module.my_optimizer")
