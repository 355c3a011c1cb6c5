"""Every network of the catalogue: build, save, load, export, compare."""

import json

import pytest
from command_line import ForkedBopkit, succeeded

from bopkit import benchmark_artifacts, list_models

pytestmark = pytest.mark.integration

LARGEST_FLATBUFFER_BYTES = {
    "binarynet": 1_360_000,
    "binary_alexnet": 7_950_000,
    "xnornet": 23_900_000,
    "birealnet": 4_250_000,
}


def test_every_network_has_a_limit():
    assert {model["name"] for model in list_models()} == set(LARGEST_FLATBUFFER_BYTES)


@pytest.mark.parametrize("name", LARGEST_FLATBUFFER_BYTES)
def test_an_untrained_network_exports_bit_packed(name, tmp_path):
    """In processes that end: TensorFlow keeps the memory of a large network, gigabytes, for itself."""

    def run(*arguments):
        return succeeded(ForkedBopkit(*arguments, output=tmp_path / "said").finished(timeout_s=300))

    (counts,) = list_models(name)
    run("init", name, "-o", tmp_path / f"{name}.h5")
    report = json.loads(run("export", tmp_path / f"{name}.h5", "--pictures", 4, "--json"))
    flatbuffer, saved_model = report["artifacts"]
    assert flatbuffer["size_bytes"] <= LARGEST_FLATBUFFER_BYTES[name]
    assert saved_model["size_bytes"] <= 1.05 * counts["floor_bytes"] + 300_000
    assert flatbuffer["floor_bytes"] == saved_model["floor_bytes"] == counts["floor_bytes"]
    assert flatbuffer["layers"]
    for layer in flatbuffer["layers"]:
        assert layer["packed"] == (layer["kernel_bits"] == 1 and layer["input_bits"] == 1), layer
    assert len(saved_model["agreements"]) == len(flatbuffer["agreements"]) == 2
    for agreement in saved_model["agreements"]:
        assert agreement["largest_difference"] == 0
    for agreement in flatbuffer["agreements"]:
        assert all(each["near_tie"] for each in agreement["disagreements"])

    (row,) = benchmark_artifacts([flatbuffer["path"]], runs=2, warmup_runs=1, min_duration_s=0.0).rows
    assert row.error is None and row.runtime == "LiteRT" and row.settings["claimed_operators"] > 0
    assert row.floor_bytes == counts["floor_bytes"]
