"""The listing commands, as a person reads them in a terminal."""

import json
import re

import pytest
from command_line import bopkit, succeeded
from terminal import in_terminal

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
    assert words >= {"binary_alexnet,", "alexnet", "61,869,664", "(imagenet2012)"}
    if columns == 200:
        assert len(lines) == 1 + len(MODELS.names())
        return
    note = " ".join(lines).partition(f"{columns} columns have no room for ")[2]
    needed = int(re.search(r"other MACs.* a terminal of (\d+) columns, or `--json`, shows all", note)[1])
    assert "no room" not in " ".join(in_terminal(needed, "models"))


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
