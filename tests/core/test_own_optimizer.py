"""An optimizer that a module of the user's defines: its hyper-parameters, and each fault in one line."""

import numpy as np
import pytest

from bopkit.errors import BopkitError, UsageError
from bopkit.failures import translate
from bopkit.hparams import BUILT_IN, HParams, default_values, override
from bopkit.keras2 import import_tensorflow
from bopkit.optim import binary_layers, make_optimizer
from bopkit.optim.schedules import scheduled_names, whole_run_schedules
from bopkit.registry import MODELS
from bopkit.sweep.space import read_space
from bopkit.training.divergence import WeightCheck

HEAD = """
from typing import Literal, Optional

from pydantic import BaseModel, Field, field_validator

from bopkit.optim import FlippingOptimizer, OwnOptimizer
"""

GOOD = """
class HyperParameters(BaseModel):
    rate: float = Field(0.25, gt=0, le=1, description="rate of the average")
    side: Literal["left", "right"] = "left"
    limit: Optional[int] = None

    @field_validator("limit")
    @classmethod
    def even(cls, value):
        if value is not None and value % 2:
            raise ValueError("must be even")
        return value

class Optimizer(FlippingOptimizer):
    averages = ("m",)
    hyper_names = ("rate", "threshold")

    def __init__(self, values):
        super().__init__("keep", "Optimizer", rate=values["rate"], threshold=values["threshold"])
        self.values = values

    def signal(self, gradient, kernel, rates):
        return gradient * rates["rate"]

OPTIMIZER = OwnOptimizer(make=Optimizer, hparams=HyperParameters, schedules=("rate", "threshold"))
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module of the user's and returns its name; each test has names of its own."""
    monkeypatch.chdir(tmp_path)

    def write_module(code, name="opt"):
        module = f"{name}_{abs(hash(str(tmp_path)))}"
        (tmp_path / f"{module}.py").write_text(HEAD + code)
        return module

    return write_module


@pytest.fixture
def bop():
    return override(MODELS.load("binarynet").hparams("bop_digits"), {"filters": 4, "dense_units": 16})


def network_of(hparams):
    return MODELS.load("binarynet").build_network(hparams, (16, 16, 1), 10)


def test_its_hyper_parameters_are_names_beside_the_others(write, bop):
    module = write(GOOD)
    hparams = override(bop, {"optimizer": module, "rate": "0.5", "side": "right", "limit": "4", "rate_end": "0.125"})
    assert (hparams.optimizer, hparams.rate, hparams.side, hparams.limit) == (module, 0.5, "right", 4)
    assert isinstance(hparams, type(bop)) and override(bop, hparams.model_dump()) == hparams
    assert type(override(bop, {"optimizer": module})) is type(hparams)
    assert scheduled_names(hparams) == ("rate", "threshold", "learning_rate")
    # The set's gamma_end is of no use here: no step depends on it.
    assert bop.gamma_end and whole_run_schedules(hparams) == ("rate", "learning_rate")
    assert override(hparams, {"optimizer": "bop"}) == bop
    assert read_space({"rate": "0.1|0.2", "side": "left|right"}, hparams)["rate"].values == (0.1, 0.2)


def test_make_gets_values_and_schedules_by_name(write, bop):
    schedules = import_tensorflow().keras.optimizers.schedules
    hparams = override(bop, {"optimizer": write(GOOD), "rate_end": 0.125, "threshold": 0.5})
    optimizer, claims = make_optimizer(network_of(hparams), hparams, steps_per_epoch=3)
    own = optimizer.optimizers[0]
    assert {"side": "left", "limit": None, "threshold": 0.5}.items() <= own.values.items() and len(own.values) == 4
    assert isinstance(own.values["rate"], schedules.PolynomialDecay)
    assert {claim.optimizer for claim in claims} == {"Optimizer", "Adam"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": "2"}, "rate=2 must be less than or equal to 1 (rate: float, > 0, <= 1)"),
        ({"side": "up"}, "side=up must be left or right"),
        ({"limit": "3"}, "limit=3 must be even (limit: int or none)"),
        ({"rat": "1"}, "Unknown hyper-parameter 'rat'. Did you mean 'rate'?"),
        ({"rate_schedule": "cosine"}, "rate_schedule=cosine needs rate_end"),
        ({"rate_warmup_epochs": "100"}, "rate_warmup_epochs=100 leaves nothing of 40 epoch"),
        ({"optimizer": "bop", "rate": "0.1"}, "Unknown hyper-parameter 'rate'"),
    ],
)
def test_a_wrong_value_is_told_as_others_are(write, bop, values, message):
    with pytest.raises(UsageError) as caught:
        override(bop, {"optimizer": write(GOOD), **values})
    assert message in str(caught.value)


def own_field(text):
    return f"class H(BaseModel):\n    {text}\n\nOPTIMIZER = OwnOptimizer(make=print, hparams=H, schedules=('rate',))"


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        ("", "defines no OPTIMIZER", "optimizers.md"),
        ("OPTIMIZER = 3", "OPTIMIZER of opt_\\d+ is int, not a bopkit.optim.OwnOptimizer", "optimizers.md"),
        ("OPTIMIZER = OwnOptimizer(make=3)", "`make` of opt_\\d+ is int, not a function", "optimizers.md"),
        ("OPTIMIZER = OwnOptimizer(make=print, hparams=int)", "`hparams` .* is the class int", "optimizers.md"),
        ("OPTIMIZER = OwnOptimizer(make=print, schedules=('gama',))", "has 'gama', which is no", "optimizers.md"),
        (
            "OPTIMIZER = OwnOptimizer(make=print, schedules=('learning_rate',))",
            "has 'learning_rate'",
            "optimizers.md",
        ),
        (own_field("gamma: float = 0.1"), "defines gamma, and bopkit has a hyper-", "Name gamma in `schedules` to use"),
        (own_field("gamma_end: float = 0.1"), "defines gamma_end, and bopkit has", "Please choose another name"),
        (own_field("loss: float = 0.1"), "defines loss, and bopkit writes a figure", "Please choose another name"),
        (
            own_field("rate: float = 1\n    rate_end: float = 2"),
            "which bopkit adds for the schedule",
            "Leave it out",
        ),
        (own_field("rate: int = 1"), "rate of opt_\\d+ is no float", "optimizers.md"),
        (
            own_field("rate: list[int] = [1]"),
            "The hyper-parameter rate of opt_\\d+ is no float, int",
            "optimizers.md",
        ),
        (own_field("rate: bool = True"), "The hyper-parameter rate of opt_\\d+ is no float, int", "optimizers.md"),
        ("OPTIMIZER = undefined", "name 'undefined' is not defined \\(opt_\\d+.py, line 7\\)", "Mend it"),
    ],
)
def test_a_faulty_module_is_one_line(write, bop, code, message, hint):
    with pytest.raises(BopkitError, match=message) as caught:
        override(bop, {"optimizer": write(code)})
    assert hint in caught.value.hint


LENIENT = """
import dataclasses

from pydantic import ConfigDict, model_validator

class HyperParameters(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=False)
    low: float = Field(default_factory=lambda: 0.25)
    high: float = 0.5

    @model_validator(mode="after")
    def ordered(self):
        if self.low > self.high:
            raise ValueError("low is above high, which cannot be.")
        return self

    def model_post_init(self, context):
        if self.low == 0.125:
            raise ValueError("low is an eighth")

@dataclasses.dataclass
class Make:
    unhashable: int = 1

    def __call__(self, values):
        raise NotImplementedError

OPTIMIZER = OwnOptimizer(Make(), HyperParameters)
"""


def test_checks_of_the_users_own_class_count_and_its_leniency_does_not(write, bop):
    module = write(LENIENT)
    made = override(bop, {"optimizer": module})
    assert (made.low, default_values(type(made))["low"]) == (0.25, 0.25)
    for values, message in (
        ({"low": 1.0}, r"^low is above high, which cannot be\. `"),
        ({"low": 0.125}, "low is an eighth"),
        ({"hihg": 1.0}, "Unknown hyper-parameter 'hihg'"),
    ):
        with pytest.raises(UsageError, match=message):
            override(made, values)
    with pytest.raises(ValueError, match="frozen"):
        made.low = 0.5


def test_what_is_no_module_is_no_optimizer(tmp_path, monkeypatch, bop):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="must be bop or latent or bop2nd or cema or bold, or a Python module in this"):
        override(bop, {"optimizer": "bopp"})
    with pytest.raises(UsageError, match="No module 'nosuch.module' for optimizer"):
        override(bop, {"optimizer": "nosuch.module"})
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(UsageError, match=r"takes the name of an optimizer\. Type mine;"):
        override(bop, {"optimizer": "mine.py"})
    (tmp_path / "bop.py").write_text("raise SystemExit")  # a built-in name comes first
    assert override(bop, {"optimizer": "bop"}) == bop
    assert set(BUILT_IN) == set(HParams.model_fields["optimizer"].annotation.__args__)


@pytest.mark.parametrize("name", [".", ".opt", "my opt", "a..b", "9.x"])
def test_what_cannot_be_a_module_is_a_wrong_name(bop, name):
    with pytest.raises(UsageError, match=r"must be bop or latent .*or a Python module in this folder"):
        override(bop, {"optimizer": name})


@pytest.mark.parametrize("schedules", ["'threshold'", "['threshold']"])
def test_one_name_or_a_list_of_them_is_a_schedule_too(write, bop, schedules):
    module = write(f"OPTIMIZER = OwnOptimizer(make=print, schedules={schedules})")
    assert scheduled_names(override(bop, {"optimizer": module})) == ("threshold", "learning_rate")


def test_make_must_return_an_optimizer(write, bop):
    hparams = override(bop, {"optimizer": write("OPTIMIZER = OwnOptimizer(make=lambda values: 3)")})
    with pytest.raises(BopkitError, match="returned int, not a legacy Keras optimizer"):
        make_optimizer(network_of(hparams), hparams, 1)


def test_a_mistake_in_the_users_signal_names_the_line(write, bop):
    tf = import_tensorflow()
    module = write(GOOD.replace('rates["rate"]', 'rates["rat"]'))
    hparams = override(bop, {"optimizer": module})
    network = network_of(hparams)
    optimizer, _ = make_optimizer(network, hparams, 1)
    gradients = [tf.zeros_like(variable) for variable in network.trainable_variables]
    with pytest.raises(KeyError) as caught:
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
    line = (HEAD + GOOD).splitlines().index('        return gradient * rates["rate"]') + 1
    assert translate(caught.value).message == f"KeyError: 'rat' ({module}.py, line {line})."


def test_kernels_that_are_no_signs_are_told(bop):
    network = network_of(bop)
    optimizer, _ = make_optimizer(network, bop, 1)
    check = WeightCheck(network, optimizer, "mine")
    check(0, 1)
    kernel = list(binary_layers(network))[-1].kernel
    values = kernel.numpy()
    values.flat[-1] = np.nextafter(np.float32(1), np.float32(0))
    kernel.assign(values)
    with pytest.raises(BopkitError, match="After step 2 of epoch 1 a marked kernel holds other values than -1 and"):
        check(0, 2)
    WeightCheck(network, optimizer)(0, 2)  # bopkit's own optimizers write nothing else
