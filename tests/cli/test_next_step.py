"""What a command ends with: the files, their size and accuracy, and a command that can be typed as it stands."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import forked, succeeded

from bopkit.cli import next_step
from bopkit.export import Agreement, ArtifactReport, ExportOptions, ExportReport
from bopkit.runs.run_data import RunData

MODEL = "binarynet --hparams-set bop_digits --hparams filters=8,dense_units=32,epochs=1".split()


def next_of(stderr: str) -> list[str]:
    """The words behind `Next: bopkit`, on the last line."""
    start, bopkit, *words = shlex.split(stderr.splitlines()[-1])
    assert (start, bopkit) == ("Next:", "bopkit"), stderr
    return words


@pytest.fixture
def report(tmp_path: Path) -> ExportReport:
    (tmp_path / "net 1.h5").write_bytes(b"")
    paths = [str(tmp_path / name) for name in ("net 1.tflite", "net 1/1")]
    artifacts = [ArtifactReport(kind, path, 1, 1, (), (), 0.0) for kind, path in zip("ab", paths, strict=True)]
    return ExportReport(str(tmp_path / "net 1.h5"), tuple(artifacts), (), 0.0, 0, dataset="digits")


def after_export(capsys: pytest.CaptureFixture[str], report: ExportReport, **options: object) -> str:
    next_step.say_benchmark_next(report.model_path, report, ExportOptions(**options))  # type: ignore[arg-type]
    return shlex.join(next_of(capsys.readouterr().err)).replace(str(Path(report.model_path).parent), "F")


def test_what_was_exported_is_measured_beside_its_network_on_the_same_pictures(
    report: ExportReport, capsys: pytest.CaptureFixture[str]
) -> None:
    files = "'F/net 1.tflite' 'F/net 1/1'"
    assert after_export(capsys, report) == f"benchmark 'F/net 1.h5' {files} --dataset digits"
    assert after_export(capsys, report, data_dir="d d", preprocess_fn="resize:0..1").endswith(
        "--dataset digits --data-dir 'd d' --preprocess-fn resize:0..1"
    )
    for elsewhere in (None, "a_module_in_another_folder"):
        assert after_export(capsys, replace(report, dataset=elsewhere)) == f"benchmark 'F/net 1.h5' {files}"


def test_the_data_folder_of_a_run_is_named_where_the_run_is_ones_own(
    report: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config.json").write_text("{}")
    record = RunData("digits", "/data", str(tmp_path)).to_dict()
    for data, is_named in ((record, True), ({**record, "seal": ""}, False)):
        (tmp_path / "environment.json").write_text(json.dumps({"data": data}))
        assert after_export(capsys, report).endswith("--data-dir /data") == is_named


def test_what_cannot_be_measured_is_not_offered(report: ExportReport, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ({"custom": ("nets.own",)}, {"architecture": "binarynet"}):
        assert after_export(capsys, report, **options).startswith("benchmark 'F/net 1.tflite'")
    folder = replace(report, model_path=str(Path(report.model_path).parent))
    assert ".h5" not in after_export(capsys, folder)
    assert after_export(capsys, replace(report, is_classifier=False)) == "inspect 'F/net 1.tflite'"


OWN_CLASS = """
import tensorflow as tf
class Twice(tf.keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.mark.integration
def test_a_network_with_classes_of_the_users_own_is_exported_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bopkit.keras2 import import_tensorflow
    from bopkit.own_code import import_module

    tf = import_tensorflow()
    (tmp_path / "own_nets_of_a_test").mkdir()
    (tmp_path / "own_nets_of_a_test" / "small.py").write_text(OWN_CLASS)
    monkeypatch.chdir(tmp_path)
    own = import_module("own_nets_of_a_test.small", "the test").Twice()
    for name, layers in (("plain", []), ("own", [own])):
        tf.keras.Sequential([tf.keras.Input((4,)), *layers, tf.keras.layers.Dense(2)]).save(f"{name}.h5")
        next_step.say_export_next("own_nets_of_a_test.small", Path(f"{name}.h5"))
    plain, with_own = capsys.readouterr().err.splitlines()
    assert plain == "Next: bopkit export plain.h5"
    assert with_own == "Next: bopkit export own.h5 --custom own_nets_of_a_test.small"


@pytest.mark.integration
def test_each_command_is_typed_as_the_one_before_says(tmp_path: Path) -> None:
    """From the first to the page of the report, in folders with spaces."""
    words = ["train", *MODEL, "--dataset", "digits", "--limit-steps", "2", "--output-dir", "run 1"]
    trained = forked(*words, cwd=tmp_path)
    assert succeeded(trained) == "run 1/model.h5\n"
    size, top1, *_ = trained.stderr.splitlines()[-2].split(", ")
    assert size.endswith(" kB") and top1.startswith("validation top-1 ") and top1.endswith(" of test")
    assert "Bop trains 9 variables (28,488 weights), Adam trains 9 variables (186 weights)" in trained.stderr

    exported = forked(*next_of(trained.stderr), "--pictures", "8", cwd=tmp_path)
    succeeded(exported)
    assert "delegate" not in exported.stderr  # LiteRT's own lines
    *_, tflite, saved_model, serving, _ = exported.stderr.splitlines()
    assert tflite.startswith("run 1/model.tflite: ") and "kB, top-1 agrees with Keras on 100.00 %, top-1" in tflite
    assert saved_model.startswith("run 1/model/1: ") and saved_model.endswith("agrees with Keras on 100.00 %")
    base = f"--model_base_path={tmp_path / 'run 1' / 'model'}"
    assert shlex.split(serving.removeprefix("To serve it: "))[-2:] == ["--model_name=model", base]

    command = next_of(exported.stderr)
    assert command[:2] == ["benchmark", "run 1/model.h5"] and command[-2:] == ["--dataset", "digits"]
    measured = forked(*command, "-o", "r.json", "--runs", "1", "--min-seconds", "0", "--limit", "8", cwd=tmp_path)
    succeeded(measured)
    assert next_of(measured.stderr) == ["report", "r.json", "--html", "r.html"]
    succeeded(forked(*next_of(measured.stderr), cwd=tmp_path))
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")

    evaluated = forked("evaluate", "run 1", "--limit", "8", cwd=tmp_path)
    assert succeeded(evaluated) and next_of(evaluated.stderr) == ["export", "run 1"]
    again = forked(*words, "--json", cwd=tmp_path)
    assert json.loads(succeeded(again))["model_file"] == "run 1/model.h5" and "Next:" not in again.stderr


@pytest.mark.integration
def test_first_commands_and_a_sweep_say_how_to_go_on(tmp_path: Path) -> None:
    made = forked("init", *MODEL, "-o", "a b.h5", cwd=tmp_path)
    assert succeeded(made) == "a b.h5\n" and next_of(made.stderr) == ["export", "a b.h5"]
    assert made.stderr.splitlines()[-2].endswith(" kB, untrained")
    prepared = forked("data", "prepare", "digits", cwd=tmp_path)
    assert next_of(prepared.stderr) == ["train", "binarynet", "--dataset", "digits"] and succeeded(prepared)
    swept = forked("sweep", *MODEL, "--dataset", "digits", "--grid", "gamma=0.1", "--limit-steps", "1", cwd=tmp_path)
    succeeded(swept)
    best = "best: trial 0, validation top-1 "
    assert swept.stderr.splitlines()[-2].startswith(best) and swept.stderr.splitlines()[-2].endswith("trial-0000")
    trained = forked(*next_of(swept.stderr), "--dry-run", cwd=tmp_path)
    assert not succeeded(trained)
    assert trained.stderr.splitlines()[-1] == "Next: the same command without --dry-run"


def test_agreement_and_accuracy_of_real_pictures_alone_are_the_summary() -> None:
    from bopkit.cli.export import _summary

    agreement = Agreement("digits", True, 256, 0.996, None, 1.0, 1e-3, 0.0, 0.0, 0.1, 0.0)
    noise = replace(agreement, real=False, top1=0.5)
    artifact = ArtifactReport("tflite", "a.tflite", 98_890, 1, (), (agreement, noise), 1.0)
    assert _summary(artifact) == "98.89 kB, top-1 agrees with Keras on 99.60 %"
    assert _summary(replace(artifact, agreements=(noise,))) == "98.89 kB"
