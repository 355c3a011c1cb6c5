import pytest

from bopkit.errors import UsageError
from bopkit.hparams import override, parse_overrides
from bopkit.registry import MODELS


@pytest.fixture
def hparams():
    return MODELS.load("binarynet").hparams()


def test_text_becomes_typed_values(hparams):
    changed = override(hparams, parse_overrides(["epochs=2, gamma=1e-2", "gamma_end=1e-6"]))
    assert (changed.epochs, changed.gamma, changed.gamma_end) == (2, 0.01, 1e-6)
    assert changed.batch_size == hparams.batch_size
    assert override(changed, {"gamma_end": "none"}).gamma_end is None


def test_all_faults_come_together_with_names_and_ranges(hparams):
    with pytest.raises(UsageError) as caught:
        override(hparams, {"epochs": "x", "gamma": "3", "nosuch": "1"})
    text = str(caught.value)
    for part in ("epochs=x", "gamma=3", "> 0, <= 1", "nosuch", "dense_units", "bopkit hparams"):
        assert part in text


@pytest.mark.parametrize(
    "values",
    [
        {"gamma": "nan"},
        {"learning_rate": "inf"},
        {"threshold": "-1"},
        {"threshold_end": "-1"},
        {"sigma": "0"},
        {"alpha_end": "2"},
        {"moments": "fair"},
        {"at_zero": "flip"},
        {"optimizer": "adam"},
        {"epochs": True},
        {"epochs": 10**30},
        {"epochs": ""},
    ],
)
def test_values_out_of_range(hparams, values):
    with pytest.raises(UsageError, match=next(iter(values))):
        override(hparams, values)


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs=1,epochs=2"])
def test_malformed_overrides(text):
    with pytest.raises(UsageError):
        parse_overrides([text])


@pytest.mark.parametrize(
    "values", [{"gamma_decay_rate": 0.1}, {"gamma_end": 1e-6, "gamma_decay_rate": 0.1, "gamma_decay_epochs": 1}]
)
def test_contradicting_schedules(hparams, values):
    with pytest.raises(UsageError):
        override(hparams, values)


def test_sets_are_frozen(hparams):
    with pytest.raises(ValueError, match="frozen"):
        hparams.epochs = 1
