"""`compare_models` around its two slow parts, which are played here: the child that converts, and the benchmark."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from written_results import make_report, make_row

from bopkit.benchmark import BenchmarkReport
from bopkit.benchmark.devices.local import LocalDevice
from bopkit.cli.main import app
from bopkit.errors import BopkitError, UsageError
from bopkit.export.comparison import compare
from bopkit.export.comparison.compare import compare_models
from bopkit.training.initialise import init_model

GONE = BopkitError("ssh://board does not answer.", "Switch it on.")


class Converter:
    """Writes files where the child would, and fails for the networks that are told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: set[str] = set()
        self.temporary = ""

    def call(self, function: str, *arguments: Any, subject: str) -> Any:
        module, _, name = function.partition(":")
        __import__(module)
        assert callable(getattr(sys.modules[module], name)) and json.dumps(arguments)
        self.calls.append(name)
        if Path(arguments[0]).stem in self.fails:
            raise BopkitError(f"{arguments[0]} has no convolutions.", "Take another.")
        paths = arguments[1].values() if name == "write_twins" else [arguments[-1]]
        for path in paths:
            Path(path).write_bytes(b"TFL3")
        return 4_000_000


@dataclasses.dataclass
class Played:
    """What was asked of the two parts."""

    converter: Converter
    measured: list[tuple[list[str], dict[str, Any]]]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played(Converter(), [])

    @contextlib.contextmanager
    def child(environment: Mapping[str, str], name: str, hint: str) -> Iterator[Converter]:
        played.converter.temporary = environment["TMPDIR"]
        yield played.converter

    def benchmark(paths: list[Path], **settings: Any) -> BenchmarkReport:
        assert all(path.is_file() for path in paths)
        played.measured.append(([path.name for path in paths], settings))
        for path in paths:
            settings["progress"](f"{path}: latency, 1 thread(s)")
        notes = [f"{paths[0]}: a note"]
        return make_report(*(make_row(str(path), notes=notes, top1=None) for path in paths))

    def open_device(name: str) -> LocalDevice:
        if name == "ssh://board":
            raise GONE
        return LocalDevice()

    monkeypatch.setattr(compare, "Child", child)
    monkeypatch.setattr(compare, "benchmark_artifacts", benchmark)
    monkeypatch.setattr(compare, "open_device", open_device)
    return played


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small untrained network."""
    return init_model("tiny.network", tmp_path_factory.mktemp("network") / "small.h5", hparams={"filters": 4})


def test_the_same_model_counts_once(played: Played, network: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(network, run / "model.h5")
    models = [run, network, str(run), run / "model.h5", "alexnet", network, "binary_alexnet"]
    found = compare_models(models, runs=5)
    assert [row.artifact for row in found.report.rows if "(packed)" in row.artifact] == [
        "run (packed)",
        "small (packed)",
        "alexnet (packed)",
    ]
    other = shutil.copy(network, tmp_path / "small.h5")
    with pytest.raises(UsageError, match="Files of small and of another network"):
        compare_models([network, other])


def test_lines_and_rows_name_networks_and_not_scratch_files(played: Played, network: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = compare_models([network], tmp_path / "new" / "kept", progress=said.append)
    assert said == [
        "small: packed",
        "small: twins",
        *(f"small, {each}: latency, 1 thread(s)" for each in ("packed", "float32 twin", "int8 twin")),
    ]
    assert {note for row in found.report.rows for note in row.notes} == {"small, packed: a note"}
    kept = ["small.float32.tflite", "small.int8.tflite", "small.tflite"]
    assert sorted(path.name for path in (tmp_path / "new" / "kept").iterdir()) == kept
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert tmp_path in Path(played.converter.temporary).parents  # whatever a killed child leaves goes with the rest


def test_the_folder_appears_after_the_last_measurement(
    played: Played, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "benchmark_artifacts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare_models([network], tmp_path / "kept")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is a file where a folder must be"):
        compare_models([network], tmp_path / "file")


def test_a_device_that_does_not_answer_is_known_before_anything_is_converted(played: Played, network: Path) -> None:
    found = compare_models([network], devices=("local", "ssh://board", "local"))
    assert [(row.device, row.error) for row in found.report.rows if row.error] == [("ssh://board", GONE.message)]
    ((_, settings),) = played.measured
    assert settings["devices"] == ("local",)
    played.converter.calls.clear()
    with pytest.raises(BopkitError, match="ssh://board does not answer"):
        compare_models([network], devices=["ssh://board"])
    assert not played.converter.calls


def test_the_errors_of_all_networks_are_said(played: Played, network: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_text("no network")
    bad = [tmp_path / "bad.h5", tmp_path / "gone.h5"]
    with pytest.raises(BopkitError, match=r"bad\.h5 is not a Keras model file.*gone\.h5 does not exist"):
        compare_models(bad)
    assert not played.converter.calls
    played.converter.fails = {"small"}
    with pytest.raises(BopkitError, match=r"bad\.h5 is not .*small\.h5 has no convolutions\. Take another\."):
        compare_models([bad[0], network])
    found = compare_models([bad[1], network, "binarynet"])
    errors = {row.artifact: row.error for row in found.report.rows if row.error}
    assert list(errors) == ["gone (packed)", "small (packed)"]
    played.converter.fails = {"binarynet", "small"}
    with pytest.raises(BopkitError, match=r"^No network can be compared\. binarynet has no convolutions"):
        compare_models(["binarynet", network])
    with pytest.raises(BopkitError) as alone:
        compare_models([network])
    assert alone.value.message == f"{network} has no convolutions." and alone.value.hint == "Take another."


def test_names_and_datasets_are_checked_before_anything_is_converted(played: Played, network: Path) -> None:
    for models, dataset, says in (
        ([network, "binarynett"], None, "Unknown model 'binarynett'"),
        (["binarynet"], "nosuch", "Unknown dataset 'nosuch'"),
        (["binarynet", network], "digits", "None of the networks is trained"),
    ):
        with pytest.raises(UsageError, match=says):
            compare_models(models, dataset=dataset, devices=["ssh://board"])
    assert not played.converter.calls


def test_an_empty_line_parts_the_tables(played: Played, network: Path) -> None:
    whole = CliRunner().invoke(app, ["compare", str(network)])
    assert whole.exit_code == 0 and "\n\npacked network" in whole.stdout
    assert "10 warm-up runs" in whole.stdout.partition("\n\n")[0]
