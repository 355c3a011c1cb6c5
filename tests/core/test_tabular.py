"""Results in Python: a few lines of text, a table for notebooks, and pandas."""

import dataclasses
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from written_results import failed_row, make_report, make_row
from written_runs import write_run

import bopkit
from bopkit.benchmark.evaluate import Evaluation
from bopkit.benchmark.predict import ClassScore, PicturePrediction, PredictionFacts, Predictions
from bopkit.benchmark.refresh import Refreshed
from bopkit.benchmark.reports import Report, merge_reports
from bopkit.data.check import DatasetCheck
from bopkit.errors import BopkitError
from bopkit.export.comparison.result import Comparison
from bopkit.export.inspection.contents import KernelMatch, StoredLayer
from bopkit.export.inspection.diff import Difference
from bopkit.export.inspection.report import Inspection
from bopkit.export.report import Accuracy, Agreement, ArtifactReport, ExportReport, LayerReport
from bopkit.export.verification.result import Verification
from bopkit.pretrained.pull import PulledModel
from bopkit.sweep.result import SweepResult, TrialRow
from bopkit.tabular import Column, Tabular, record
from bopkit.text import percent_text
from bopkit.training.result import TrainResult
from bopkit.training.throughput import ThroughputReport, ThroughputRow

HOSTILE = "<script>alert('x')</script>\x1b[2J\n.tflite"
AGREEMENT = Agreement("digits test split", True, 256, 0.99609375, None, 0.98828125, 1e-3, 0.25, 1e-4, 0.1, 0.0)
LAYER = LayerReport("conv2", "QuantConv2D", (3, 3, 64, 128), 1, 1, 9216, True, "")
STORED = StoredLayer("conv2", "QuantConv2D", (3, 3, 64, 128), 1, 1, 1, 73728, 73728, 9216, True, "")
ARTIFACT = ArtifactReport("tflite", "a/model.tflite", 98_890, 92_000, (LAYER,), (AGREEMENT,), 1.5)


def evaluation(top1: float) -> Evaluation:
    """An evaluation on digits."""
    return Evaluation(
        "m.h5",
        "",
        "digits",
        "test",
        364,
        "shift",
        "model card",
        top1,
        (0.87, 0.93),
        1.0,
        0.5,
        900.0,
        "CPU",
        100,
        ((0, 1, 36),),
        (),
    )


def results() -> dict[str, Any]:
    """A result of each public function that returns figures, by the function's name."""
    report = make_report(make_row("a/model.tflite"), failed_row("b.tflite"))
    accuracy = Accuracy("digits test", 364, 0.98, 0.97)
    artifacts = (dataclasses.replace(ARTIFACT, accuracy=accuracy),)
    trials = (TrialRow(0, "finished", {"gamma": 1e-3, "epochs": 9}, 0.5, 2), TrialRow(1, "failed", {"gamma": 1e-2}))
    return {
        "benchmark_artifacts": report,
        "build_report": Report(merge_reports([("", report)])),
        "compare_models": Comparison(report, ()),
        "run_sweep": SweepResult("s", "sqlite", Path("runs/sweep"), trials, 0, "bopkit train"),
        "export_model": ExportReport("model.h5", artifacts, (), 2.0, 1),
        "verify_artifacts": Verification(None, None, (), None, (AGREEMENT,), (), (), (), ()),
        "inspect_artifact": Inspection(
            "model.h5", "keras", 295_000, 294_912, 9216, 73728, 73728, True, (), (), (STORED,), None, None, ()
        ),
        "diff_artifacts": Difference("a.h5", "b.h5", (), (), (), (), (), (KernelMatch("k", "k", 100, 3),), (), ()),
        "check_dataset": DatasetCheck(
            *("folder:photos", ("cat", "dog"), {"train": (900, 12), "test": (100, 3)}, ((9, 9),) * 3, (90.0,), (50.0,)),
            *({}, (), (32, 32, 3), "crop_and_flip"),
        ),
        "evaluate_model": evaluation(0.9),
        "refresh_model": Refreshed("m.h5", "n.h5", "train", 1000, evaluation(0.5), evaluation(0.9)),
        "predict_pictures": Predictions(
            PredictionFacts("m.h5", "Keras", "shift", "model card", ("cat", "dog"), 2, 5, 0, ""),
            (
                PicturePrediction("a.png", (ClassScore(1, "dog", 0.75), ClassScore(0, "cat", 0.25)), True),
                PicturePrediction("b.png", (), error="b.png is damaged."),
            ),
        ),
        "pull_model": PulledModel(
            *("net", "net", "net/model.h5", 2_690_000, "net/model.tflite", 99_000, "net/run_config.json", True),
            *("binarynet", "digits", "test", 364, 0.9, 0.9, "bopkit", "Apache-2.0", "bopkit train"),
        ),
        "list_pretrained": bopkit.list_pretrained(),
        "train_model": TrainResult(None, None, {"epoch": 2, "val_top1": 0.75, "loss": 0.5}, "test", 364, 0),
        "measure_throughput": ThroughputReport(
            "birealnet", (224, 224, 3), "CPU", 2, 1, {}, (ThroughputRow("float32", False, 32, 9.0, 800.0, 8.0),)
        ),
    }


SHOWN = {
    "benchmark_artifacts": "top-1 p50 ms size 90.00 % 4.20 MB failed It is not a complete",
    "build_report": "top-1 p50 ms size 90.00 % 4.20 MB failed It is not a complete",
    "compare_models": "What binarization buys 90.00 % 4.20 MB",
    "run_sweep": "2 trials in runs/sweep, trial 0 is the best 50.00 % gamma=0.001",
    "export_model": "model.h5 a/model.tflite 98.89 kB 92.00 kB 99.61 % 97.00 %",
    "verify_artifacts": "The artifacts agree. same inputs 99.61 % 98.83 % 2.5e-01 256",
    "inspect_artifact": "model.h5, 295.00 kB 9.22 kB, 73,728 weights conv2 3x3x64x128",
    "diff_artifacts": "a.h5 and b.h5: they differ 100 3 3.00 %",
    "check_dataset": "folder:photos class train test cat dog 900 12 100 3",
    "evaluate_model": "m.h5 on digits test, preprocessing shift 90.00 % 87.00 % 93.00 % 0.5000 364",
    "refresh_model": "n.h5: statistics of 1,000 pictures of train 50.00 % 90.00 % 364",
    "predict_pictures": "2 pictures by m.h5, preprocessing shift a.png dog 0.7500 b.png damaged.",
    "pull_model": "net: binarynet, trained on digits 2.69 MB 99.00 kB 90.00 % 364 Apache-2.0",
    "list_pretrained": "binarynet_fashion_mnist binarynet fashion_mnist",
    "train_model": "dry run, nothing was kept 75.00 % 0.5000",
    "measure_throughput": "birealnet on CPU, 2 cores 32 float32 8",
}
"""What a person looks for in each."""


@pytest.mark.parametrize("name", SHOWN)
def test_a_result_is_a_few_lines_and_a_table_with_the_figures_that_a_person_looks_for(name: str) -> None:
    result = results()[name]
    text, page = repr(result), result._repr_html_()
    assert text.startswith(type(result).__name__) and len(text.splitlines()) <= 9
    assert max(map(len, text.splitlines())) <= 80
    for word in SHOWN[name].split():
        assert word in text and word in page, word


def test_every_public_function_that_returns_figures_shows_them() -> None:
    """By what the functions say that they return."""
    shown = set()
    for name in bopkit.__all__:
        function = getattr(bopkit, name)
        if inspect.isfunction(function):
            returned = str(inspect.signature(function).return_annotation)
            kind = getattr(importlib.import_module(function.__module__), returned, None)
            if inspect.isclass(kind) and issubclass(kind, Tabular):
                shown.add(name)
    assert shown == {*SHOWN, "list_runs", "group_runs"}


def test_a_strangers_text_is_text() -> None:
    report = make_report(make_row(HOSTILE), failed_row("b.tflite", device="<b>\x1b"))
    assert "\x1b" not in repr(report) and len(repr(report).splitlines()) == 4
    page = report._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>" not in page and "\x1b" not in page


@dataclasses.dataclass(frozen=True, repr=False)
class Long(Tabular):
    """Rows with a path and an error."""

    rows: int

    _columns = (Column("path", "path"), Column("share", "share", percent_text), Column("error", "error"))

    def _title(self) -> str:
        return "many words " * 12

    def _records(self) -> list[dict[str, Any]]:
        return [{"path": f"/folder/{'x' * 40}/{row}.h5", "share": 0.5, "error": "word " * 12} for row in range(9)]


def test_long_results_are_cut_where_it_harms_least() -> None:
    title, more_of_it, headings, *rows, rest = repr(Long(9)).splitlines()
    assert max(map(len, (title, more_of_it, headings, *rows))) <= 80 and title.endswith(" many")
    assert len(rows) == 6 and rest == "... and 3 more; to_pandas() has all"
    assert [row.split()[0][-6:] for row in rows] == [f"x/{row}.h5" for row in range(6)]
    assert rows[0].endswith("50.00 %  word word word word word word...")


def test_a_record_has_what_is_one_value() -> None:
    values = record(make_row("a.tflite", top1=0.9, is_throttled=False))
    assert values["top1_low"] == pytest.approx(0.887) and values["top5_low"] is None
    assert values["input_shape"] == "32x32x3" and values["is_throttled"] is False
    assert not {"samples_ms", "settings", "confusion", "top1_interval"} & set(values)


def test_pandas_has_every_figure() -> None:
    frame = results()["benchmark_artifacts"].to_pandas()
    assert frame.top1[0] == 0.9 and frame.artifact.tolist() == ["a/model.tflite", "b.tflite"]
    assert frame.dataset.tolist() == ["cifar10", "cifar10"] and frame.shape[1] > 40
    trials = results()["run_sweep"].to_pandas()
    assert trials["hparams.gamma"].tolist() == [1e-3, 1e-2] and trials.epochs.tolist() == [2, 0]
    (export,) = results()["export_model"].to_pandas().to_dict("records")
    assert (export["top1_before"], export["top1_after"], export["packed_layers"]) == (0.98, 0.97, 1)
    (layer,) = ARTIFACT.to_pandas().to_dict("records")
    assert layer["kernel_shape"] == "3x3x64x128" and layer["size_bytes"] == 9216


def test_pandas_has_the_epochs_of_a_training_and_the_settings_of_runs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", epochs=3, gamma=1e-2)
    result = TrainResult(run, run / "model.h5", {}, "test", 100, 0)
    assert result.to_pandas().val_top1.tolist() == [0.51, 0.52, 0.53]
    runs = bopkit.list_runs(tmp_path)
    assert runs.to_pandas().gamma.tolist() == [1e-2] and list(runs.to_pandas())[0] == "path"
    assert repr(runs).startswith("RunList: 1 run\n") and "53.00 %" in repr(runs[0])
    assert len(runs) == 1 and runs == [runs[0]]


def test_without_pandas_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BopkitError, match="pandas is not installed. Type `pip install pandas`."):
        ARTIFACT.to_pandas()
