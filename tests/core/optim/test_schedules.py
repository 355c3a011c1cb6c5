"""Schedules of hyper-parameters against NumPy, step by step, and what contradicts itself."""

import numpy as np
import pytest

from bopkit.errors import UsageError
from bopkit.hparams import override
from bopkit.keras2 import import_tensorflow
from bopkit.optim.schedules import make_schedule, whole_run_schedules
from bopkit.registry import MODELS
from bopkit.schedules import OVER_WHOLE_RUN, SCHEDULED

EPOCHS, STEPS_PER_EPOCH = 5, 4
STEPS = EPOCHS * STEPS_PER_EPOCH
START, END = 0.5, 0.02
KINDS = {
    "constant": {},
    "linear": {"end": END},
    "cosine": {"end": END},
    "exponential": {"end": END},
    "staircase": {"decay_rate": 0.1, "decay_epochs": 1},
}


def hparams_of(name, **parts):
    values = {f"{name}_{part}": value for part, value in parts.items()}
    return override(MODELS.load("binarynet").hparams("bop"), {"epochs": EPOCHS, name: START, **values})


def values_of(hparams, name, steps=STEPS + 3):
    """The value at each step, also behind the end."""
    tf = import_tensorflow()
    made = make_schedule(hparams, name, STEPS_PER_EPOCH)
    return [float(made(tf.constant(step, tf.int64))) if callable(made) else made for step in range(steps)]


def numpy_schedule(kind, warmup_epochs, steps=STEPS + 3):
    """The definition in float64: a rise over the warm-up's steps, then the schedule over what is left."""
    warmup = warmup_epochs * STEPS_PER_EPOCH
    step = np.arange(steps)
    later = np.maximum(step - warmup, 0)
    done = np.minimum(later / (STEPS - warmup), 1)
    after = {
        "constant": np.full(steps, START),
        "linear": START + (END - START) * done,
        "cosine": END + (START - END) * (1 + np.cos(np.pi * done)) / 2,
        "exponential": START * (END / START) ** done,
        "staircase": START * 0.1 ** (later // STEPS_PER_EPOCH),
    }[kind]
    return np.where(step < warmup, START * (step + 1) / max(warmup, 1), after)


@pytest.mark.parametrize("warmup_epochs", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_of_every_kind(kind, warmup_epochs):
    hparams = hparams_of("gamma", schedule=kind, warmup_epochs=warmup_epochs, **KINDS[kind])
    values = values_of(hparams, "gamma")
    np.testing.assert_allclose(values, numpy_schedule(kind, warmup_epochs), rtol=1e-6)
    if warmup_epochs:  # gamma must be above 0 from the first step on
        assert values[0] == pytest.approx(START / 8) and values[7] == values[8] == START
    if kind in OVER_WHOLE_RUN:
        assert values[STEPS] == values[STEPS + 2] == np.float32(END)


@pytest.mark.parametrize("kind", ["constant", "linear", "staircase"])
def test_without_its_name_a_schedule_is_what_it_was_before(kind):
    """The same Keras schedule with the same numbers: the same bits."""
    tf = import_tensorflow()
    before = {
        "constant": lambda step: tf.constant(START),
        "linear": tf.keras.optimizers.schedules.PolynomialDecay(START, STEPS, END),
        "staircase": tf.keras.optimizers.schedules.ExponentialDecay(START, STEPS_PER_EPOCH, 0.1, staircase=True),
    }[kind]
    unnamed, named = (hparams_of("gamma", **part, **KINDS[kind]) for part in ({}, {"schedule": kind}))
    expected = [float(before(tf.constant(step, tf.int64))) for step in range(STEPS + 3)]
    assert values_of(unnamed, "gamma") == values_of(named, "gamma") == expected


@pytest.mark.parametrize("name", SCHEDULED)
def test_every_name_has_every_schedule(name):
    hparams = hparams_of(name, schedule="cosine", warmup_epochs=2, end=END)
    np.testing.assert_allclose(values_of(hparams, name), numpy_schedule("cosine", 2), rtol=1e-6)


def test_schedules_survive_the_config_of_an_optimizer():
    tf = import_tensorflow()
    schedules = tf.keras.optimizers.schedules
    for kind in ("constant", "cosine", "exponential"):
        made = make_schedule(hparams_of("gamma", schedule=kind, warmup_epochs=1, **KINDS[kind]), "gamma", 4)
        again = schedules.deserialize(schedules.serialize(made))
        assert [float(again(step)) for step in range(STEPS)] == [float(made(step)) for step in range(STEPS)]


def test_nothing_comes_to_0_by_a_factor():
    with pytest.raises(UsageError, match="exponential multiplies, and threshold or threshold_end is 0. .*linear"):
        hparams_of("threshold", schedule="exponential", end=0.0)


def test_a_dry_run_of_one_epoch_begins_its_warm_up():
    hparams = hparams_of("gamma", schedule="cosine", end=END, warmup_epochs=2).model_copy(update={"epochs": 1})
    assert values_of(hparams, "gamma", steps=2) == pytest.approx([START / 8, START / 4])


def test_schedules_with_an_end_take_the_whole_run():
    whole = {kind for kind, parts in KINDS.items() if whole_run_schedules(hparams_of("gamma", schedule=kind, **parts))}
    assert whole == {*OVER_WHOLE_RUN}
    assert whole_run_schedules(hparams_of("gamma", warmup_epochs=2)) == ()


@pytest.mark.parametrize(
    ("parts", "message", "remedy"),
    [
        ({"schedule": "cosine"}, "gamma_schedule=cosine needs gamma_end", {"gamma_end": 5e-3}),
        ({"schedule": "constant", "end": 0.1}, "takes no gamma_end", {"gamma_end": None}),
        ({"schedule": "staircase", "end": 0.1}, "needs gamma_decay_rate and gamma_decay_epochs", None),
        ({"schedule": "linear", "end": 0.1, "decay_rate": 0.1}, "belong together", None),
        ({"end": 0.1, "decay_rate": 0.1, "decay_epochs": 1}, "two schedules of gamma", {"gamma_end": None}),
        ({"schedule": "constant", "decay_rate": 0.1, "decay_epochs": 1}, "no gamma_decay_rate and no gamma_deca", None),
        ({"warmup_epochs": EPOCHS}, "leaves nothing of 5 epoch", {"gamma_warmup_epochs": None}),
        ({"schedule": "wavy"}, "=wavy must be constant or linear or staircase or cosine or exponential or none", None),
    ],
)
def test_contradictions_are_one_line_with_a_remedy(parts, message, remedy):
    with pytest.raises(UsageError, match=message) as caught:
        hparams_of("gamma", **parts)
    if remedy:
        given = {f"gamma_{part}": value for part, value in parts.items()}
        override(hparams_of("gamma"), {**given, **remedy})
        name, value = next(iter(remedy.items()))
        assert f"{name}={'none' if value is None else '5e-3'}" in caught.value.hint
