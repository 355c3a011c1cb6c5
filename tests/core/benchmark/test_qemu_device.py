"""C sources in a benchmark: on this host, and on emulated microcontrollers."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import bopkit, failed, succeeded
from tiny_c_sources import CARD, OTHERWISE_ON_ARM, write_c_sources
from written_results import make_report, make_row

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.benchmark import BenchmarkOptions, BenchmarkRow, benchmark_artifacts
from bopkit.benchmark.devices import open_device
from bopkit.benchmark.devices.device_names import QemuName, parse_device_name
from bopkit.benchmark.devices.info import device_info
from bopkit.benchmark.devices.qemu import BOARDS, NetworkMeasurement, device, find_compilers
from bopkit.benchmark.reports import csv_table, markdown, merge_reports, read_reports, render_page
from bopkit.benchmark.reports.conditions import conditions
from bopkit.benchmark.reports.table import cells, columns_for
from bopkit.benchmark.results import Environment
from bopkit.benchmark.runtimes.runtime import make_runtime
from bopkit.errors import BopkitError, UsageError
from bopkit.host_compiler import host_compiler

M4 = "qemu:cortex-m4"
BOARD = Environment("Cortex-M4, emulated by QEMU as mps2-an386", 1, 4 << 20, "none", "thumb", {"qemu": "7.2.0"})
FEW: dict[str, Any] = {"runs": 2, "warmup_runs": 0, "min_duration_s": 0.0}

needs_host_compiler = pytest.mark.skipif(not host_compiler(), reason="there is no C compiler")
needs_board = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or not find_compilers() or not host_compiler(),
    reason="qemu-system-arm or a compiler is not installed",
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_c_sources(tmp_path / "tiny_c")


@pytest.fixture
def board_without_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board whose tools are stand-ins, and which answers zeros."""

    @dataclasses.dataclass
    class Compiler:
        def options(self, board: object, optimize: str) -> tuple[str, ...]:
            return "-mcpu=cortex-m4", optimize

    def measure(*_: object, inputs: bytes, input_bytes: int, output_bytes: int, **__: object) -> NetworkMeasurement:
        outputs = bytes(len(inputs) // input_bytes * output_bytes)
        return NetworkMeasurement(outputs, 1234567, 1234567, 1234567, 500, 7000, 85000, 128, 96000, "gcc 12")

    def answer_zeros(self: object, *arguments: object) -> None:
        pass

    monkeypatch.setattr(device, "qemu_command", lambda: "qemu-system-arm")
    monkeypatch.setattr(device, "find_compiler", Compiler)
    monkeypatch.setattr(device, "environment_of", lambda board: BOARD)
    monkeypatch.setattr(device, "measure_network", measure)
    monkeypatch.setattr(device.QemuDevice, "_compare", answer_zeros)


def emulated_row(artifact: str = "net_c", name: str = M4, **figures: Any) -> BenchmarkRow:
    nothing = {
        each: None
        for each in (
            *("latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "latency_ms_mean", "latency_ms_std"),
            *("latency_ms_min", "runs", "warmup_runs", "peak_memory_bytes", "load_ms", "first_inference_ms", "threads"),
        )
    }
    counted = {"instructions": 15_631_554, "flash_bytes": 92_484, "code_bytes": 7428, "ram_bytes": 7276}
    values = {**nothing, "samples_ms": [], "steps": [], "kind": "c", "runtime": "C", "stack_bytes": 548, **counted}
    values["settings"] = {"compiler": "arm-none-eabi-gcc 12.2.1", "options": "-mcpu=cortex-m4 -O3"}
    return dataclasses.replace(make_row(artifact), device=name, **{**values, **figures})


# Names.


def test_device_names() -> None:
    for name, board in BOARDS.items():
        assert parse_device_name(f"qemu:{name}") == QemuName(f"qemu:{name}", board)
    assert BenchmarkOptions(devices=(M4, "local", M4)).devices == (M4, "local")


@pytest.mark.parametrize("name", ["qemu:", "qemu:cortex-m44", "qemu:m4", "qemu:CORTEX-M4"])
def test_unknown_cores(name: str) -> None:
    with pytest.raises(UsageError, match="Unknown microcontroller.*Known: cortex-m3.*`--device qemu:cortex-m4`"):
        BenchmarkOptions(devices=(name,))


def test_another_device_is_told_of_the_syntax() -> None:
    with pytest.raises(UsageError, match="qemu:CORE"):
        parse_device_name("cortex-m4")


# The folder as an artifact.


def test_a_folder_of_c_sources_is_an_artifact(network: Path, tmp_path: Path) -> None:
    assert artifact.kind(network) == "c"
    assert artifact.resolve(network) == network
    assert artifact.read_card(network) == CARD
    assert artifact.read_floor_bytes(network) == 128
    assert artifact.pixel_preprocessing(network) is None
    assert artifact.pixel_preprocessing(write_c_sources(tmp_path / "pixels", "uint8")) == "shift"
    assert artifact.pixel_preprocessing(write_c_sources(tmp_path / "bare", "uint8", card=None)) is None


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda values: values.update(name="-o /tmp/x"), "is damaged"),
        (lambda values: values.update(sources=["../tiny.c"]), "is damaged"),
        (lambda values: values.update(sources=["other.c"]), "lacks other.c"),
        (lambda values: values.update(format=2), "another version"),
        (lambda values: values.pop("input"), "is damaged"),
    ],
)
def test_a_damaged_manifest(edit: Any, message: str, network: Path) -> None:
    values = json.loads((network / "network.json").read_text())
    edit(values)
    (network / "network.json").write_text(json.dumps(values))
    with pytest.raises(BopkitError, match=message):
        artifact.kind(network)


@needs_host_compiler
def test_the_runtime_computes_what_the_sources_say(network: Path, tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).uniform(-1, 1, (3, 32, 32, 1)).astype(np.float32)
    runtime = make_runtime("c", 4, "litert")
    runtime.load(network)
    assert (runtime.name, runtime.settings["threads"], runtime.input_shape) == ("C", 1, (32, 32, 1))
    stored = np.round(pictures[..., 0].astype(np.float64) * 127).astype(np.int64)
    weights = np.zeros(32, np.int64)
    weights[:10] = [1, -2, 3, -4, 5, -6, 7, -8, 9, -10]
    table = weights[np.add.outer(np.arange(32), np.arange(32)) % 32]
    sums = (stored * table).sum(axis=1)
    labels = 3 * np.arange(10)
    answers = np.trunc((sums[:, labels] + sums[:, labels + 1]) / 256)
    np.testing.assert_array_equal(runtime.predict(pictures), answers.astype(np.float32) / 16)
    other = make_runtime("c", 1)
    other.load(network)
    np.testing.assert_array_equal(other.predict(pictures), runtime.predict(pictures))
    bare = write_c_sources(tmp_path / "bare", "uint8", card=None)
    with pytest.raises(BopkitError, match="takes uint8 pixels, but its card names no preprocessing"):
        make_runtime("c", 1).load(bare)


def test_no_compiler_on_this_host(network: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BopkitError, match="There is no C compiler on this machine. Install gcc or clang"):
        make_runtime("c", 1).load(network)


# Rows.


def test_a_row_of_a_board(network: Path, board_without_tools: None) -> None:
    report = benchmark_artifacts([network], devices=[M4], threads=(1, 2))
    (row,) = report.rows
    assert (row.error, row.device, row.threads, row.kind, row.runtime) == (None, M4, None, "c", "C")
    assert (row.instructions, row.flash_bytes, row.code_bytes) == (1234567, 92000, 7000)
    assert (row.ram_bytes, row.stack_bytes, row.size_bytes, row.weight_bytes, row.floor_bytes) == (
        128,
        500,
        32,
        32,
        128,
    )
    assert row.settings == {"compiler": "gcc 12", "options": "-mcpu=cortex-m4 -O3"}
    assert row.latency_ms_p50 is None and row.samples_ms == [] and row.is_emulated
    assert (row.architecture, row.input_shape, row.classes) == ("tiny", (32, 32, 1), 10)
    assert report.environments == {M4: BOARD}


def test_another_artifact_has_a_note_and_no_error(board_without_tools: None, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    (row,) = benchmark_artifacts([folder], devices=[M4], threads=(1, 2)).rows
    assert (row.error, row.instructions, row.flash_bytes, row.threads) == (None, None, None, None)
    assert row.notes == ["Emulated boards run folders of C sources alone: `bopkit export MODEL.h5 --c` writes one."]


def test_an_artifact_that_is_none_is_an_error(board_without_tools: None, tmp_path: Path) -> None:
    (row,) = benchmark_artifacts([tmp_path / "none.h5"], devices=[M4]).rows
    assert row.error is not None and row.device == M4


def test_missing_tools(network: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    (row,) = benchmark_artifacts([network], devices=[M4]).rows
    assert row.error == "qemu-system-arm is not installed."
    assert row.hint is not None and "qemu-system-arm" in row.hint
    monkeypatch.setattr(device, "qemu_command", lambda: "qemu-system-arm")
    monkeypatch.setattr("bopkit.benchmark.devices.qemu.toolchain.find_compilers", list)
    with pytest.raises(BopkitError, match="No compiler for Cortex-M is installed. Install Debian's gcc-arm-none-eabi"):
        open_device(M4)


def test_a_comparison_refuses_boards() -> None:
    result = bopkit("compare", "binarynet", "--device", M4)
    failed(result, 2)
    assert f"`bopkit benchmark DIR --device {M4}`" in " ".join(result.stderr.split())


# Reports.


def test_tables_show_what_was_counted(tmp_path: Path) -> None:
    rows = (emulated_row(), make_row("net.tflite"), emulated_row("net.h5", instructions=None))
    report = make_report(*rows, environments={M4: BOARD})
    lines = merge_reports([("", report)]).lines
    columns = columns_for(lines)
    headings = [column.heading for column in columns]
    shown = dict(zip(headings, cells(columns, next(line for line in lines if line.row.instructions)), strict=True))
    assert (shown["instructions"], shown["flash"], shown["RAM"], shown["stack"]) == (
        *("15,631,554", "92.48 kB", "7.28 kB", "548 B"),
    )
    assert shown["p50 ms"] == "-"
    assert "| 15,631,554 | 92.48 kB | 7.28 kB | 548 B |" in markdown(merge_reports([("", report)]))
    (first, *_) = csv.DictReader(io.StringIO(csv_table(merge_reports([("", report)]))))
    assert (first["instructions"], first["code_bytes"], first["latency_ms_p50"]) == ("15631554", "7428", "")
    page = render_page(merge_reports([("", report)]))
    assert '<h2 id="instructions">Instructions</h2>' in page and "15,631,554" in page
    files.write_json(tmp_path / "a.json", report.to_dict())
    assert read_reports(tmp_path / "a.json") == (report,)


def test_a_report_without_counts_has_no_such_columns() -> None:
    merged = merge_reports([("", make_report(make_row("net.tflite")))])
    assert not {"instructions", "flash", "RAM", "stack"} & {column.heading for column in columns_for(merged.lines)}
    assert "instructions" not in render_page(merged).lower()


def test_a_failed_row_of_a_board_has_no_latency() -> None:
    row = emulated_row(error="It answers otherwise than on this host.")
    lines = merge_reports([("", make_report(row, environments={M4: BOARD}))]).lines
    columns = columns_for(lines)
    assert not [column.heading for column in columns if "ms" in column.heading]
    assert "failed" in cells(columns, lines[0])


def test_a_report_of_boards_alone_says_nothing_of_latency() -> None:
    merged = merge_reports([("", make_report(emulated_row(), environments={M4: BOARD}))])
    text = "\n".join(conditions(merged))
    assert "instructions of one picture, which are no time, on Cortex-M4, emulated by QEMU" in text
    assert "built by arm-none-eabi-gcc 12.2.1" in text
    assert "latency" not in text
    page = render_page(merged)
    assert "atency" not in page and "warm-up" not in page and "ms</th>" not in page.partition("Conditions of each")[0]


def test_results_merge_and_older_ones_load(tmp_path: Path) -> None:
    values = make_report(make_row("net.tflite"), date="2026-11-01T10:00:00+00:00").to_dict()
    for name in ("instructions", "flash_bytes", "code_bytes", "ram_bytes", "stack_bytes", "weight_bytes"):
        del values["rows"][0][name]
    files.write_json(tmp_path / "old.json", values)
    (old,) = read_reports(tmp_path / "old.json")
    boards = make_report(emulated_row(), emulated_row(name="qemu:cortex-m7", instructions=9), environments={M4: BOARD})
    again = dataclasses.replace(boards, rows=(emulated_row(instructions=15_000_000),))
    merged = merge_reports([("old", old), ("boards", boards), ("again", again)])
    assert [line.row.instructions for line in merged.lines] == [None, 15_000_000, 9]
    assert [len(line.earlier) for line in merged.lines] == [0, 1, 0]


# With the tools.


@pytest.mark.integration
@needs_board
def test_whole_benchmark(network: Path, tmp_path: Path) -> None:
    report = benchmark_artifacts(
        [network], "digits", devices=[M4, "qemu:cortex-m33", "local"], threads=(1, 2), limit=40, resume=False, **FEW
    )
    assert [row.error for row in report.rows] == [None] * 3
    assert [(row.device, row.threads) for row in report.rows] == [(M4, None), ("qemu:cortex-m33", None), ("local", 1)]
    assert {row.top1 for row in report.rows} == {report.rows[0].top1} != {None}
    board, _, host = report.rows
    assert board.instructions is not None and 1000 < board.instructions < 100_000
    assert board.flash_bytes is not None and board.code_bytes is not None
    assert board.flash_bytes == board.code_bytes + 32
    assert board.ram_bytes == 128 and board.stack_bytes is not None and board.stack_bytes < 1000
    assert (board.latency_ms_p50, host.instructions) == (None, None)
    assert host.latency_ms_p50 is not None and host.runs
    assert benchmark_artifacts([network], devices=[M4]).rows[0].instructions == board.instructions


@pytest.mark.integration
@needs_board
def test_pixels_on_a_board(tmp_path: Path) -> None:
    pixels = write_c_sources(tmp_path / "pixels", "uint8")
    (row,) = benchmark_artifacts([pixels], "digits", devices=[M4], limit=20, resume=False, **FEW).rows
    assert row.error is None and row.instructions and row.pictures == 20


@pytest.mark.integration
@needs_board
def test_other_answers_than_on_this_host(tmp_path: Path) -> None:
    wrong = write_c_sources(tmp_path / "wrong", last_line=OTHERWISE_ON_ARM)
    (row,) = benchmark_artifacts([wrong], devices=[M4]).rows
    assert row.error == f"On {M4} it answers otherwise than on this host (4 of 4 pictures)."
    assert row.instructions is not None


@pytest.mark.integration
@needs_board
def test_command(network: Path) -> None:
    result = bopkit("benchmark", network, "--device", M4, "--json")
    succeeded(result)
    (row,) = json.loads(result.stdout)["rows"]
    assert row["instructions"] > 1000 and row["latency_ms_p50"] is None
    info = device_info(M4)
    assert info.is_ready and "QEMU" in info.environment.cpu


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("inspect", "is a folder of C sources, of which the layers cannot be read. Give the .h5 or .tflite file"),
        ("export", "is a folder of C sources, which was exported already. Give the .h5 file"),
        ("evaluate", "`bopkit benchmark` measures SavedModels, .tflite files and C sources."),
    ],
)
def test_commands_that_take_no_c_sources(command: str, message: str, network: Path) -> None:
    result = bopkit(command, network)
    assert result.returncode in (1, 2)
    assert message in " ".join(result.stderr.split())
