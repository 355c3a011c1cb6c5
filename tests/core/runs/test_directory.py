"""Which run a folder holds, also one that was begun before a setting was there."""

import contextlib
import json

import pytest

from bopkit.errors import UsageError
from bopkit.runs.directory import RunDirectory

DEFAULTS = {"accumulate": 1, "hparams": {"gamma": 1e-4, "smoothing": 0.0}}
CONFIG = {"model": "tiny", "accumulate": 1, "hparams": {"epochs": 3, "gamma": 1e-3, "smoothing": 0.0}}


def go_on(path, config):
    """Open the run of a config that has trained; what its folder then says."""
    with contextlib.closing(RunDirectory(path, config, DEFAULTS)):
        return json.loads((path / "config.json").read_text())


@pytest.fixture
def run_before(tmp_path):
    """A run whose config lacks a setting and a hyper-parameter that came later."""
    config = {"model": "tiny", "hparams": {"epochs": 3, "gamma": 1e-3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "metrics.jsonl").write_text('{"kind": "step", "step": 1}\n')
    return tmp_path


def test_a_missing_setting_counts_as_its_default(run_before):
    config = (run_before / "config.json").read_text()
    assert go_on(run_before, CONFIG) == json.loads(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulate": 2}, "accumulate is 1 there and 2 here"),
        ({"hparams": {**CONFIG["hparams"], "smoothing": 0.1}}, "smoothing is 0.0 there and 0.1 here"),
        # What is there counts as it stands, whatever its default is.
        ({"hparams": {**CONFIG["hparams"], "gamma": 1e-4}}, "gamma is 0.001 there and 0.0001 here"),
        ({"model": "other"}, "model is 'tiny' there and 'other' here"),
    ],
)
def test_another_value_than_the_default_is_another_run(run_before, changes, message):
    with pytest.raises(UsageError, match=f"another run: {message}"):
        go_on(run_before, {**CONFIG, **changes})
