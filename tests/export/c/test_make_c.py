"""`bopkit export --c`, from model file to running C: bits of answers, sizes, self-test, refusals."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.c_sources import CNetwork, read_c_sources
from bopkit.artifacts.keras_file import save_model
from bopkit.benchmark.devices.qemu import BOARDS, find_compilers, measure_network
from bopkit.errors import BopkitError, UsageError
from bopkit.export import ExportOptions, export_model
from bopkit.export.tflite.run import predict_by_reference_kernels
from bopkit.host_compiler import WARNINGS, host_compiler
from bopkit.keras2 import import_tensorflow

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not host_compiler(), reason="there is no C compiler"),
]
CORES = (
    "cortex-m4",
    "cortex-m55",
    *(pytest.param(core, marks=pytest.mark.release) for core in ("cortex-m3", "cortex-m7", "cortex-m33")),
)


@pytest.fixture(scope="module", name="digits_file")
def fixture_digits_file(randomise: Callable[..., Any], make_card: Callable[..., Any], tmp_path_factory: Any) -> Path:
    """An untrained network for the digits: real, binary and residual layers, odd channels, padding of both kinds."""
    import larq

    tf = import_tensorflow()
    keras = tf.keras.layers

    def binary(filters: int, name: str, **settings: Any) -> Any:
        quantizers = {"input_quantizer": "ste_sign", "kernel_quantizer": larq.quantizers.NoOp(precision=1)}
        return larq.layers.QuantConv2D(filters, 3, padding="same", use_bias=False, name=name, **quantizers, **settings)

    images = tf.keras.Input((8, 8, 1))
    x = keras.Conv2D(24, 3, padding="same", name="stem")(images)
    x = keras.BatchNormalization(scale=False, name="stem_bn")(x)
    shortcut = x
    x = keras.BatchNormalization(name="residual_bn")(binary(24, "residual")(x))
    x = keras.Add(name="added")([x, shortcut])
    x = binary(32, "halved", strides=2, pad_values=1)(x)
    x = keras.MaxPool2D(2, name="pool")(x)
    x = keras.BatchNormalization(scale=False, name="halved_bn")(x)
    x = keras.BatchNormalization(scale=False, name="last_bn")(binary(33, "last", pad_values=1)(x))
    x = keras.Flatten()(x)
    x = keras.Dense(10, name="output")(x)
    model = randomise(tf.keras.Model(images, keras.Softmax(name="probabilities")(x)))
    card = make_card(input_shape=(8, 8, 1), dataset="digits", class_names=tuple("0123456789"), preprocessing="shift")
    path = tmp_path_factory.mktemp("digits") / "net.h5"
    save_model(model, card, path)
    return path


@pytest.fixture(scope="module", name="exported")
def fixture_exported(digits_file: Path, tmp_path_factory: Any) -> tuple[Path, Any]:
    """A folder with `net.tflite` and `net_c`, and the report."""
    folder = tmp_path_factory.mktemp("exported")
    return folder, export_model(digits_file, folder, ExportOptions(savedmodel=False, c=True))


def test_all_test_pictures_are_answered_bit_for_bit(exported: tuple[Path, Any], tmp_path: Path) -> None:
    folder, report = exported
    sources = read_c_sources(folder / "net_c")
    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (200, 8, 8, 1)).astype(np.float32)
    (expected,) = predict_by_reference_kernels((folder / "net.tflite").read_bytes(), pictures)
    for options in (("-O0",), ("-O3",), ("-O1", "-fno-strict-aliasing")):
        place = tmp_path / options[0]
        place.mkdir()
        found = CNetwork(sources, place, options, warn=True).predict(pictures)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert report.c.is_integer and report.c.float_macs == 0
    assert len(np.unique(expected.argmax(axis=1))) > 1


def test_flash_and_ram_are_near_what_they_must_be(exported: tuple[Path, Any]) -> None:
    folder, report = exported
    c = report.c
    binary = (24 * 9 * 24 + 32 * 9 * 24 + 33 * 9 * 32) / 8
    other = 2 * (24 * 9 + 4 * 24) + 2 * 2 * 33 * 10 + 4 * 10  # the stem once for signs, once for sizes
    assert binary <= c.weight_bytes <= 1.02 * (binary + other)
    assert c.arena_lower_bound_bytes <= c.arena_bytes <= 1.1 * c.arena_lower_bound_bytes
    if c.code_bytes is not None:
        assert c.code_bytes <= 12_000
    text = (folder / "net_c" / "net.c").read_text()
    for name in ("stem", "residual", "halved", "last", "output", "probabilities"):
        assert f"/* {name}: " in text
    assert not re.search(r"\b(float|double|malloc)\b", text)


@pytest.mark.parametrize("core", CORES)
def test_boards_answer_the_same_bits(exported: tuple[Path, Any], core: str, tmp_path: Path) -> None:
    sources = read_c_sources(exported[0] / "net_c")
    stored = np.random.default_rng(1).integers(-128, 128, (5, *sources.input.shape)).astype(np.int8)
    expected = CNetwork(sources, tmp_path).answers(stored)
    if not find_compilers():
        pytest.skip("there is no compiler for Cortex-M")
    for compiler in find_compilers()[: 2 if core == "cortex-m4" else 1]:
        try:
            found = measure_network(
                BOARDS[core],
                sources.paths,
                sources.header,
                "net_run",
                stored.tobytes(),
                sources.input.size_bytes,
                sources.output.size_bytes,
                compiler=compiler,
            )
        except BopkitError as error:
            if "qemu" in error.message:
                pytest.skip(error.message)
            raise
        assert found.outputs == expected.tobytes()
        assert found.stack_bytes < 2000


def test_self_test_passes_and_a_flipped_bit_fails_it(exported: tuple[Path, Any], tmp_path: Path) -> None:
    folder = exported[0] / "net_c"

    def run(sources: list[Path]) -> subprocess.CompletedProcess[str]:
        program = tmp_path / "net_test"
        subprocess.run([*host_compiler(), "-std=c99", *map(str, sources), f"-I{folder}", "-o", program], check=True)
        return subprocess.run([program], capture_output=True, text=True, check=False)

    sources = sorted(folder.glob("*.c"))
    whole = run(sources)
    assert (whole.returncode, whole.stdout) == (0, "net: 4 pictures are right\n")
    text = (folder / "net.c").read_text()
    first = re.search(r"residual_weights\[\d+\] = \{\s*0x([0-9a-f]{8})u", text)
    assert first is not None
    flipped = f"{int(first[1], 16) ^ 0x100:08x}"
    damaged = tmp_path / "net.c"
    damaged.write_text(text[: first.start(1)] + flipped + text[first.end(1) :])
    told = run([damaged, *(each for each in sources if each.name != "net.c")])
    assert (told.returncode, told.stdout) == (1, "net: its constants are damaged\n")


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
@pytest.mark.parametrize("target", ["thumb-freestanding-eabi", "riscv32-freestanding", "aarch64-linux-musl"])
def test_sources_compile_without_a_warning(exported: tuple[Path, Any], target: str, tmp_path: Path) -> None:
    folder = exported[0] / "net_c"
    for source in sorted(folder.glob("*.c")):
        words = [sys.executable, "-m", "ziglang", "cc", "-target", target, *WARNINGS, "-Werror", "-DBOPKIT_NO_MAIN"]
        subprocess.run([*words, "-O2", "-c", str(source), "-o", str(tmp_path / "object.o")], check=True)


def test_a_wrong_kernel_fails_the_self_test(exported: tuple[Path, Any], tmp_path: Path) -> None:
    folder = exported[0] / "net_c"
    kernel = (folder / "bopkit_bconv.c").read_text()
    wrong = kernel.replace("distances[f] = 2 * total + lost;", "distances[f] = 2 * total + lost + 2;")
    assert wrong != kernel
    (tmp_path / "bopkit_bconv.c").write_text(wrong)
    sources = [each for each in folder.glob("*.c") if each.name != "bopkit_bconv.c"] + [tmp_path / "bopkit_bconv.c"]
    program = tmp_path / "net_test"
    subprocess.run([*host_compiler(), "-std=c99", *map(str, sources), f"-I{folder}", "-o", program], check=True)
    told = subprocess.run([program], capture_output=True, text=True, check=False)
    assert told.returncode == 1 and "is wrong" in told.stdout


def test_pixels_as_input(digits_file: Path, tmp_path: Path) -> None:
    export_model(digits_file, tmp_path, ExportOptions(savedmodel=False, c=True, input_type="uint8"))
    sources = read_c_sources(tmp_path / "net_c")
    assert sources.input.kind == "uint8"
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1)).astype(np.uint8)
    (expected,) = predict_by_reference_kernels((tmp_path / "net.tflite").read_bytes(), pixels)
    build = tmp_path / "build"
    build.mkdir()
    np.testing.assert_array_equal(CNetwork(sources, build).predict(pixels).reshape(expected.shape), expected)


def test_c_alone_goes_into_the_named_folder(digits_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "board"
    report = export_model(digits_file, folder, ExportOptions(savedmodel=False, tflite=False, c=True, c_name="digits"))
    assert Path(report.c.path) == folder
    names = {each.name for each in folder.iterdir()}
    assert {"digits.h", "digits.c", "digits_test.c", "CMakeLists.txt", "library.properties", "README.md"} <= names
    assert (folder / "zephyr" / "module.yml").is_file()
    assert not list(tmp_path.glob("*.tflite"))
    manifest = json.loads((folder / "network.json").read_text())
    assert manifest["card"]["dataset"] == "digits"
    with pytest.raises(UsageError, match="exists already"):
        export_model(digits_file, folder, ExportOptions(savedmodel=False, tflite=False, c=True, c_name="digits"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c_name": "my-net"}, "cannot be the name of a C function"),
        ({"flash_bytes": 2000}, "of flash, .* more than the 2.00 kB of --flash. The layers that take most: "),
        ({"ram_bytes": 100}, "of RAM, .* more than the 100 B of --ram"),
    ],
)
def test_what_does_not_fit_is_refused(digits_file: Path, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(BopkitError, match=message):
        export_model(digits_file, tmp_path / "c", ExportOptions(savedmodel=False, tflite=False, c=True, **options))
    assert not (tmp_path / "c").exists()


def test_a_network_without_a_dataset_needs_one(randomise: Callable[..., Any], small_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no dataset") as raised:
        export_model(small_file, tmp_path / "c", ExportOptions(savedmodel=False, tflite=False, c=True))
    assert "--calibrate DATASET" in raised.value.hint
