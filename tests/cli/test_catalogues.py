"""The listing commands, as a person reads them in a terminal."""

import itertools
import json
import re

import pytest
from command_line import bopkit, failed, succeeded
from terminal import in_terminal

from bopkit.catalogue import _sort_value, list_models
from bopkit.hparams import override, schedule_parts
from bopkit.registry import MODELS
from bopkit.schedules import SCHEDULED, SUFFIXES


@pytest.mark.parametrize("columns", [80, 120])
def test_no_name_and_no_value_is_folded(columns):
    architecture = MODELS.load("binarynet")
    lines = in_terminal(columns, "hparams", "binarynet")
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.split()}
    kind = type(architecture.hparams())
    names = {*kind.model_fields} - {*schedule_parts(kind)} | {f"X_{suffix}" for suffix in SUFFIXES}
    assert words >= {*names, *SCHEDULED, *architecture.sets, "gamma_decay_epochs=100"}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_columns_without_room_are_named_with_the_width_that_shows_them(columns):
    lines = in_terminal(columns, "models")
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.split()}
    assert words >= {*MODELS.names(), "61.87", "imagenet2012", "cifar10"}
    if columns >= 80:
        assert not [line for line in lines if "no room" in line]
        return
    note = " ".join(lines).partition(f"{columns} columns have no room for ")[2]
    needed = int(re.search(r"1-bit MACs.* a terminal of (\d+) columns, or `--json`, shows all", note)[1])
    assert "no room" not in " ".join(in_terminal(needed, "models"))


def test_networks_stand_by_size_of_pictures_family_and_parameters():
    models = list_models()
    assert {model["name"] for model in models} == set(MODELS.names())
    order = [(-model["input_shape"][0], model["family"]) for model in models]
    assert len(list(itertools.groupby(order))) == len(set(order))
    assert [shape for (shape, _), _ in itertools.groupby(order)] == sorted(shape for shape, _ in set(order))
    for _, family in itertools.groupby(models, lambda model: (model["input_shape"], model["family"])):
        params = [model["params"] for model in family]
        assert params == sorted(params)


@pytest.mark.parametrize("key", ["params", "floor_bytes", "other_macs", "input_shape", "name", "top1_percent"])
def test_the_list_sorts_by_any_key(key):
    lines = in_terminal(80, "models", "--sort", key)
    assert max(map(len, lines)) <= 80
    assert "no room" not in " ".join(lines)
    names = [line.split()[0] for line in lines[-len(MODELS.names()) :]]
    assert names == [model["name"] for model in list_models(sort=key)]
    values = [_sort_value(model, key) for model in list_models(sort=key)]
    given = [value for value in values if value is not None]
    assert given == sorted(given, reverse=key == "top1_percent") == values[: len(given)]


def test_a_wrong_sort_key_names_those_that_there_are():
    assert "other_macs" in failed(bopkit("models", "--sort", "top1"), 2)
    assert "--sort" in failed(bopkit("models", "quicknet", "--sort", "params"), 2)


@pytest.mark.integration
def test_blocks_of_a_network_fit_and_are_whole():
    lines = in_terminal(80, "models", "quicknet_small")
    assert max(map(len, lines)) <= 80
    assert "no room" not in " ".join(lines)
    ((model,),) = [json.loads(succeeded(bopkit("models", "quicknet_small", "--json")))]
    for key in ("params", "binary_params", "binary_macs", "mixed_macs", "float_macs"):
        assert sum(block[key] for block in model["blocks"]) == model[key]
    assert {"section1", "transition3", "logits"} <= {line.split()[0] for line in lines if line.split()}


def test_a_pipe_gets_whole_rows():
    values, schedules, _ = succeeded(bopkit("hparams", "binarynet")).split("\n\n")
    parts = len(SCHEDULED) * len(SUFFIXES)
    assert len(values.splitlines()) == 1 + len(type(MODELS.load("binarynet").hparams()).model_fields) - parts
    assert len(schedules.splitlines()) == 2 + len(SUFFIXES)


def test_a_set_shows_what_is_set_of_its_schedules():
    shown = succeeded(bopkit("hparams", "binarynet", "bop_sec52")).partition("\n\n")[0]
    names = [line.split()[0] for line in shown.splitlines()]
    assert names[names.index("gamma") + 1 :][:2] == ["gamma_decay_rate", "gamma_decay_epochs"]
    assert not {"gamma_end", "learning_rate_schedule"} & set(names)


@pytest.mark.integration
def test_defaults_and_what_is_shown_of_a_set_give_the_set():
    architecture = MODELS.load("binarynet")
    shown = succeeded(bopkit("hparams", "binarynet")).partition("values that are not the default")[2]
    rows = dict(line.split(maxsplit=1) for line in shown.strip().splitlines())
    fields = json.loads(succeeded(bopkit("hparams", "binarynet", "--json")))["fields"]
    defaults = {field["name"]: field["default"] for field in fields}
    base = type(architecture.hparams())(**{**defaults, "epochs": 1, "batch_size": 1, "learning_rate": 1.0})
    assert list(rows) == list(architecture.sets)
    for name, values in rows.items():
        assert override(base, dict(value.split("=") for value in values.split())) == architecture.hparams(name)
