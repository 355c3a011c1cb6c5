"""Every network of the catalogue: build, save, load, export, compare."""

import json

import pytest
from catalogue_exports import LARGEST_FLATBUFFER_BYTES, assert_small_and_packed
from command_line import forked, succeeded

from bopkit import benchmark_artifacts, list_models

pytestmark = pytest.mark.integration

HEADLINE = "birealnet"
"""Checked in test_headline_commands, where it is exported anyway."""


def test_every_network_has_a_limit():
    assert {model["name"] for model in list_models()} == set(LARGEST_FLATBUFFER_BYTES)


@pytest.mark.parametrize("name", sorted(set(LARGEST_FLATBUFFER_BYTES) - {HEADLINE}))
def test_an_untrained_network_exports_bit_packed(name, tmp_path):
    """In processes that end: TensorFlow keeps the memory of a large network, gigabytes, for itself."""

    def run(*arguments):
        return succeeded(forked(*arguments, output=tmp_path / "said"))

    run("init", name, "-o", tmp_path / f"{name}.h5")
    report = json.loads(run("export", tmp_path / f"{name}.h5", "--pictures", 4, "--json"))
    assert_small_and_packed(name, report)

    flatbuffer, _ = report["artifacts"]
    (row,) = benchmark_artifacts([flatbuffer["path"]], runs=2, warmup_runs=1, min_duration_s=0.0).rows
    assert row.error is None and row.runtime == "LiteRT" and row.settings["claimed_operators"] > 0
    assert row.floor_bytes == flatbuffer["floor_bytes"]
