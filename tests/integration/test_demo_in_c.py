"""A network for the digits in C: as the flatbuffer, bit for bit, on all test pictures and every emulated core."""

import subprocess
import sys

import numpy as np
import pytest
from command_line import forked, succeeded

from bopkit.artifacts.c_sources import CNetwork, read_c_sources
from bopkit.benchmark.devices.qemu import BOARDS, find_compilers, measure_network
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset
from bopkit.export import ExportOptions, export_model
from bopkit.export.tflite.run import predict_by_reference_kernels
from bopkit.host_compiler import host_compiler

pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(not (host_compiler() and find_compilers()), reason="there is no C compiler for Cortex-M"),
]


@pytest.fixture(scope="module")
def in_c(tmp_path_factory):
    """C sources of a BinaryNet that was trained on the digits, stored test pictures, and the stored answers."""
    folder = tmp_path_factory.mktemp("demo")
    settings = ["--hparams-set", "bop_digits", "--hparams", "epochs=8", "--validationset"]
    succeeded(forked("train", "binarynet", "--dataset", "digits", *settings, "--output-dir", folder / "run"))
    export_model(folder / "run" / "model.h5", folder, ExportOptions(savedmodel=False, c=True, pictures=364, max_drop=5))
    sources = read_c_sources(folder / "model_c")
    preprocessing = get_preprocessing(sources.card.preprocessing, sources.input.shape)
    batches = evaluation_batches(open_dataset("digits"), "test", preprocessing, 64)
    pictures = np.concatenate([np.asarray(images) for images, _ in batches])
    (expected,) = predict_by_reference_kernels((folder / "model.tflite").read_bytes(), pictures)
    return sources, sources.input.stored(pictures), sources.output.stored(expected)


@pytest.mark.parametrize("options", [("-O0",), ("-O3",), ("-O2", "-fno-strict-aliasing")])
def test_on_this_host(in_c, options, tmp_path):
    sources, stored, expected = in_c
    assert len(stored) == 364 and len(np.unique(expected.argmax(axis=1))) == 10
    np.testing.assert_array_equal(CNetwork(sources, tmp_path, options, warn=True).answers(stored), expected)


@pytest.mark.parametrize("core", BOARDS)
def test_on_emulated_cores(in_c, core):
    sources, stored, expected = in_c
    sizes = sources.input.size_bytes, sources.output.size_bytes
    found = measure_network(BOARDS[core], sources.paths, sources.header, "model_run", stored.tobytes(), *sizes)
    np.testing.assert_array_equal(np.frombuffer(found.outputs, np.int8).reshape(expected.shape), expected)


def test_it_fits_small_chips(in_c):
    sources, stored, _ = in_c
    sizes = sources.input.size_bytes, sources.output.size_bytes
    board = BOARDS["cortex-m4"]
    found = measure_network(board, sources.paths, sources.header, "model_run", stored[:1].tobytes(), *sizes)
    assert found.code_bytes + found.constant_bytes <= 128 << 10
    assert sources.arena_bytes + sum(sizes) + found.stack_bytes <= 20 << 10


def test_ziglang_compiles_it_too(in_c, tmp_path):
    pytest.importorskip("ziglang")
    sources, *_ = in_c
    test = sources.folder / "model_test.c"
    words = [sys.executable, "-m", "ziglang", "cc", "-std=c99", "-O3", *map(str, sources.paths), str(test)]
    subprocess.run([*words, "-o", tmp_path / "model_test"], check=True)
    assert subprocess.run([tmp_path / "model_test"], check=False).returncode == 0
