"""Settings of a training: one list of them for Python, the command line and a sweep's trials."""

import dataclasses
import inspect
import json
from pathlib import Path

from bopkit.cli import train as command
from bopkit.training import Observer, TrainOptions, train_model


def defaults_of(function):
    return {name: each.default for name, each in inspect.signature(function).parameters.items()}


def test_function_and_command_have_the_fields_and_defaults_of_the_options():
    fields = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    assert fields.pop("hparams") is dataclasses.MISSING  # an empty one: None there
    fields["hparams"] = None
    observed = {field.name: field.default for field in dataclasses.fields(Observer)}
    observed |= {"progress": None, "callbacks": ()}
    required = {"model": inspect.Parameter.empty, "dataset": inspect.Parameter.empty}
    fields = {name: value for name, value in fields.items() if name not in required}
    assert defaults_of(train_model) == {**required, **fields, **observed}
    of_command = defaults_of(command.train)
    assert of_command.pop("checkpoint_every") == fields.pop("checkpoint_every_minutes")
    assert {name: of_command[name] for name in fields} == {**fields, "output_prefix": Path("runs")}
    assert of_command.keys() - fields.keys() == {"model", "dataset", "json", "verbose", "callback"}


def test_options_survive_json():
    options = TrainOptions(
        model="binarynet",
        dataset="digits",
        hparams={"gamma": 1e-3, "gamma_end": None, "epochs": 2},
        output_dir=Path("runs") / "one",
        data_dir=None,
        checkpoint_every_minutes=0.1,
        early_stop=3,
        validationset=True,
    )
    values = json.loads(json.dumps(options.to_dict()))
    assert values["output_dir"] == "runs/one"
    again = TrainOptions(**values)
    assert again.to_dict() == options.to_dict()
    assert (again.hparams, again.precision, again.keep) == (options.hparams, None, 2)
