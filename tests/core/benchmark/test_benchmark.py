"""The benchmark: timing and metrics as arithmetic, then whole runs on a tiny network in all three formats."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bopkit_runtime
import numpy as np
import psutil
import pytest
from carded_flatbuffers import embed_card
from written_runs import write_run

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.artifacts.tflite_metadata import embed_metadata
from bopkit.benchmark import (
    BenchmarkOptions,
    BenchmarkReport,
    BenchmarkRow,
    accuracy,
    benchmark_artifacts,
    child,
    row_details,
    timing,
    worker,
)
from bopkit.benchmark.accuracy import artifact_preprocessing, write_scores
from bopkit.benchmark.devices import local
from bopkit.benchmark.job import SCORES_FILE, EvaluationPlan, Job, Timing
from bopkit.benchmark.layer_bytes import layer_names
from bopkit.benchmark.results import LOCAL
from bopkit.benchmark.row_notes import add_timing_notes
from bopkit.benchmark.runtimes.lce import LceRuntime
from bopkit.benchmark.runtimes.parallel import RuntimeProcess, one_a_core
from bopkit.benchmark.runtimes.runtime import default_runtime, make_runtime
from bopkit.cli import benchmark as command
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import share_within_tolerance, top1_agreement, top_k_accuracy
from bopkit.python_process import python_command

SHAPE = (32, 32, 1)
PICTURES = 60
CARD = ModelCard("tiny", SHAPE, (-1.0, 1.0), "resize", dataset="digits", class_names=tuple("0123456789"))
EVALUATION = EvaluationPlan("digits", None, "test", PICTURES, 32, tuple("0123456789"), SHAPE, "shift", None)


def test_percentiles_interpolate_between_runs() -> None:
    latency = timing.summarise([int(ms * 1e6) for ms in range(100, 0, -1)], warmup_runs=3)
    assert latency == timing.Latency(
        latency_ms_p50=50.5,
        latency_ms_p90=pytest.approx(90.1),
        latency_ms_p99=pytest.approx(99.01),
        latency_ms_mean=50.5,
        latency_ms_std=pytest.approx(np.sqrt((100**2 - 1) / 12)),
        latency_ms_min=1.0,
        runs=100,
        warmup_runs=3,
        duration_s=pytest.approx(5.05),
        samples_ms=list(map(float, range(100, 0, -1))),
    )


@pytest.mark.parametrize(
    ("call_ms", "time_limit_s", "expected_warmups", "expected_runs"),
    [
        (100, 30, 4, 20),  # as asked for
        (10, 30, 4, 100),  # fast: on until a second is over
        (1000, 15, 3, 15),  # slow: until the limit
        (60_000, 15, 1, timing.FEWEST_RUNS),
    ],
)
def test_runs_adapt_to_the_network(
    monkeypatch: pytest.MonkeyPatch,
    call_ms: int,
    time_limit_s: float,
    expected_warmups: int,
    expected_runs: int,
) -> None:
    now_ns = 0

    def call() -> None:
        nonlocal now_ns
        now_ns += call_ms * 1_000_000

    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: now_ns)
    latency = timing.measure_latency(call, warmup_runs=4, runs=20, time_limit_s=time_limit_s)
    assert (latency.warmup_runs, latency.runs) == (expected_warmups, expected_runs)
    assert latency.latency_ms_p50 == call_ms


def test_top_k_accuracy_ranks_ties_like_argmax() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (200, 10)).astype(np.float32)  # many ties
    labels = rng.integers(0, 10, 200)
    ranking = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 5, 10):
        assert top_k_accuracy(scores, labels, k) == np.mean((ranking[:, :k] == labels[:, None]).any(axis=1))


def test_agreement_counts_pictures() -> None:
    reference = np.float32([[0.8, 0.2], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    scores = reference + np.float32([[5e-5, 0], [1.5e-4, 0], [0, 0], [0.85, 0]])
    assert top1_agreement(scores, reference) == 0.75
    assert share_within_tolerance(scores, reference) == 0.5


def test_preprocessing_is_the_users_then_the_cards_and_never_a_guess() -> None:
    asked = dataclasses.replace(EVALUATION, preprocess_fn="imagenet")
    assert artifact_preprocessing(asked, CARD) == ("imagenet", "preprocess_fn")
    assert artifact_preprocessing(EVALUATION, CARD) == ("resize", "model card")
    for card in (None, dataclasses.replace(CARD, preprocessing="")):
        assert artifact_preprocessing(asked, card) == ("imagenet", "preprocess_fn")
        with pytest.raises(UsageError, match=r"no model card names it.*--preprocess-fn.*resize:0\.\.255"):
            artifact_preprocessing(EVALUATION, card)


@pytest.mark.parametrize(
    "arguments",
    [
        {"artifacts": []},
        {"runs": 0},
        {"warmup_runs": -1},
        {"threads": 0},
        {"runtime": "tflite"},
        {"limit": 5},
        {"split": "test"},
        {"preprocess_fn": "resize"},
        {"dataset": "digits", "preprocess_fn": "resise"},
        {"dataset": "digits", "split": "tset"},
        {"dataset": "digits", "limit": 0},
    ],
)
def test_a_wrong_request_is_one_error_and_no_rows(arguments: dict) -> None:
    with pytest.raises(UsageError):
        benchmark_artifacts(**{"artifacts": ["model.h5"], **arguments})


def _defaults_of(function: Callable[..., Any], *others: str) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.items()
    return {name: each.default for name, each in parameters if name not in others}


def test_function_and_command_have_the_defaults_of_the_options() -> None:
    defaults = {option.name: option.default for option in dataclasses.fields(BenchmarkOptions)}
    of_function = _defaults_of(benchmark_artifacts, "artifacts", "deliver", "progress")
    assert {**of_function, "threads": (of_function["threads"],)} == defaults
    of_command = _defaults_of(command.benchmark, "artifacts", "output", "html", "markdown", "csv", "json")
    assert (of_command.pop("threads"), defaults.pop("threads")) == ("1", (1,))
    assert (of_command.pop("devices"), defaults.pop("devices")) == (None, (LOCAL,))
    of_command["min_duration_s"] = of_command.pop("min_seconds")
    of_command["cool_down_s"] = of_command.pop("cool_down")
    only_in_python = {name: defaults[name] for name in ("time_limit_s", "batch_size")}
    assert {**of_command, **only_in_python} == defaults


def test_a_crash_is_a_row_with_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_worker(monkeypatch, tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    report = benchmark_artifacts(["model.tflite"])
    assert "SIGSEGV" in str(report.failed[0].error)


def test_an_interrupt_ends_the_measuring_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_worker(monkeypatch, tmp_path, "import os, time; progress(str(os.getpid())); time.sleep(60)")
    pids = []

    def interrupt(line: str) -> None:
        if line.strip().isdecimal():
            pids.append(int(line))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark_artifacts(["model.tflite"], progress=interrupt)
    assert len(pids) == 1 and not psutil.pid_exists(pids[0])


def test_modules_in_the_working_directory_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("queue", "h5py", "bopkit", "numpy"):
        (tmp_path / f"{name}.py").write_text("from pathlib import Path; Path('hostile.txt').touch()")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (row,) = benchmark_artifacts(["model.h5"]).rows
    assert "does not load" in str(row.error)  # by the true h5py
    assert not (tmp_path / "hostile.txt").exists()


def test_the_measuring_process_starts_in_the_repository() -> None:
    code = "import bopkit.benchmark.worker, bopkit.models, bopkit.export; print('started')"
    root = Path(__file__).parents[3]
    with subprocess.Popen(python_command(code), cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read() == b"started\n"
        assert process.wait() == 0


def test_an_error_without_text_is_named_by_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise StopIteration

    monkeypatch.setattr(worker, "measure", fail)
    job = json.loads(json.dumps(dataclasses.asdict(Job("model.h5", 1, Timing()))))
    assert "StopIteration" in worker.run_job(job, str(tmp_path), print)["error"]


@pytest.mark.parametrize("label", [-1, 10])
def test_a_split_without_labels_has_no_accuracy(label: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Uniform:
        input_shape = SHAPE

        def predict(self, pictures: np.ndarray) -> np.ndarray:
            return np.full((len(pictures), 10), 0.1, np.float32)

    def batches(*arguments: object, **options: object) -> Any:
        pictures, labels = np.zeros((PICTURES, *SHAPE), np.float32), np.zeros(PICTURES, np.int64)
        labels[40] = label
        return import_tensorflow().data.Dataset.from_tensor_slices((pictures, labels)).batch(32)

    monkeypatch.setattr(accuracy, "evaluation_batches", batches)
    with pytest.raises(BopkitError, match="Split test of dataset digits has no labels.*--split"):
        write_scores([Uniform()], EVALUATION, "resize", tmp_path, print)


def test_a_floor_is_shared_by_the_same_network_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards of untrained networks hold no class names: the rows tell how many classes there are."""
    rows = {
        "model.h5": BenchmarkRow("model.h5", input_shape=SHAPE, classes=10, floor_bytes=1000),
        "same.tflite": BenchmarkRow("same.tflite", input_shape=SHAPE, classes=10),
        "classes.tflite": BenchmarkRow("classes.tflite", input_shape=SHAPE, classes=5),
        "shape.tflite": BenchmarkRow("shape.tflite", input_shape=(16, 16, 1), classes=10),
        "failed.tflite": BenchmarkRow("failed.tflite", error="it is damaged"),
    }
    card = dataclasses.replace(CARD, class_names=())
    monkeypatch.setattr(local, "measure_in_child", lambda job, folder, progress: rows[job.artifact])
    monkeypatch.setattr(artifact, "read_card", lambda path: card)
    report = benchmark_artifacts(list(rows))
    assert [row.floor_bytes for row in report.rows] == [1000, 1000, None, None, None]


def test_only_a_stock_dataset_of_a_card_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").touch()
    monkeypatch.chdir(tmp_path)
    for name, notes in (("digits", ["Add --dataset digits for its accuracy."]), ("evil.module", []), ("evil", [])):
        row = BenchmarkRow("model.h5")
        row_details._suggest_datasets([row], [dataclasses.replace(CARD, dataset=name)])
        assert row.notes == notes


def test_peak_memory_is_not_the_parents() -> None:
    ballast = np.ones(300_000_000, np.uint8)
    code = "from bopkit.host import peak_memory_bytes; print(peak_memory_bytes())"
    peak_bytes = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 5_000_000 < peak_bytes < ballast.nbytes


def test_importing_the_package_imports_no_tensorflow() -> None:
    code = "import sys, bopkit.benchmark, bopkit.benchmark.worker; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


@dataclasses.dataclass(frozen=True)
class Artifacts:
    """One tiny network in all three formats, and what Keras says of it in this process."""

    keras: Path
    saved_model: Path
    tflite: Path
    top1: float
    top5: float
    floor_bytes: int


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    folder = tmp_path_factory.mktemp("artifacts")
    batches = evaluation_batches(open_dataset("digits"), "test", get_preprocessing("resize", SHAPE), 32, PICTURES)
    images, labels = (np.concatenate(parts) for parts in zip(*batches.as_numpy_iterator(), strict=True))
    model = _tiny_model(classes=10)
    _fit_last_layer(model, images, labels)
    save_model(model, CARD, folder / "model.h5")
    _write_flatbuffer(model, folder / "model.tflite", CARD)
    _write_saved_model(_tiny_model(classes=3), folder / "served" / "9", None)
    _write_saved_model(model, folder / "served" / "10", CARD)
    ranking = np.argsort(-model.predict(images, verbose=0), axis=1)
    return Artifacts(
        keras=folder / "model.h5",
        saved_model=folder / "served",
        tflite=folder / "model.tflite",
        top1=float(np.mean(ranking[:, 0] == labels)),
        top5=float(np.mean((ranking[:, :5] == labels[:, None]).any(axis=1))),
        # Weights of one bit: two 3x3 convolutions. Real ones: dense layer, two batch norms without scale.
        floor_bytes=(9 * 32 + 9 * 32 * 32) // 8 + 4 * (32 * 10 + 10 + 2 * 3 * 32),
    )


@pytest.mark.parametrize(
    ("tensors", "names"),
    [
        (["m/conv/Conv2D", "m/block/bn/FusedBatchNormV3"], ["conv", "block/bn"]),
        (["m/conv_bn/add", "m/dense2/ste_sign_6/Sign_1", "m/sign/Sign"], ["conv_bn", "before dense2", "sign"]),
        (["conv/Conv2D", "logits/MatMul"], ["conv", "logits"]),
        (["one/conv/Conv2D", "other/conv/Conv2D"], ["one/conv", "other/conv"]),
        (["m/logits/MatMul"], ["logits"]),
        (["logits/MatMul"], ["logits"]),
        (["m/block/sign/Sign"], ["block/sign"]),
        (["m/conv/Conv2D", "StatefulPartitionedCall:0"], ["conv", "StatefulPartitionedCall:0"]),
        ([], []),
    ],
)
def test_layers_of_a_flatbuffer_are_named_as_in_keras(tensors: list[str], names: list[str]) -> None:
    assert layer_names(tensors) == names


@pytest.mark.integration
@pytest.mark.usefixtures("forked_children")
def test_all_formats_measure_what_keras_predicts(artifacts: Artifacts, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")  # stands for its model
    (run / "model.h5").write_bytes(artifacts.keras.read_bytes())
    paths = [run, artifacts.saved_model, artifacts.tflite]
    report = benchmark_artifacts(paths, "digits", limit=PICTURES, warmup_runs=2, runs=20)
    assert not report.failed, report.failed
    assert report.reference == str(run)
    assert [row.kind for row in report.rows] == ["keras", "savedmodel", "tflite"]
    assert artifacts.top1 > 0.6
    for row in report.rows:
        assert (row.pictures, row.top1, row.top5) == (PICTURES, artifacts.top1, artifacts.top5)
        assert (row.preprocessing, row.preprocessing_source) == ("resize", "model card")
        assert (row.input_shape, row.classes, row.floor_bytes) == (SHAPE, 10, artifacts.floor_bytes)
        assert (
            row.images_per_second and len(row.class_top1) == 10 and sum(each[2] for each in row.confusion) == PICTURES
        )
        _check_figures(row)
    keras, saved_model, tflite = report.rows
    assert keras.top1_agreement is None
    for row in (saved_model, tflite):
        assert (row.top1_agreement, row.within_tolerance) == (1.0, 1.0)
    assert _notes_but_of_timing(saved_model) == ["Version 10 was measured, the newest."]
    for row in (keras, tflite):  # two layers with packed kernels in the flatbuffer, none in the Keras file
        assert sum(layer.size_bytes for layer in row.layers) == row.size_bytes
        assert sum(layer.is_packed for layer in row.layers) == (1 if row is tflite else 0)
    assert any(layer.name.startswith("batch_normalization") for layer in tflite.layers), tflite.layers
    assert tflite.size_bytes == artifacts.tflite.stat().st_size
    assert json.loads(json.dumps(report.to_dict()))["rows"][2]["latency_ms_p50"] == tflite.latency_ms_p50


@pytest.mark.integration
def test_a_flatbuffer_is_measured_without_tensorflow(artifacts: Artifacts) -> None:
    """In new processes: the memory of forks is their parent's too."""
    report = benchmark_artifacts([artifacts.keras, artifacts.tflite], runs=2, warmup_runs=1, min_duration_s=0.0)
    keras, tflite = report.rows
    assert _peak_bytes(tflite) < _peak_bytes(keras) / 3


@pytest.mark.integration
@pytest.mark.usefixtures("forked_children")
def test_artifacts_that_fail_leave_the_others_alone(artifacts: Artifacts, tmp_path: Path) -> None:
    _write_flatbuffer(_tiny_model(classes=10), tmp_path / "whole.tflite", None)
    whole = (tmp_path / "whole.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.tflite").write_bytes(_with_wrong_tensor(whole))
    _write_flatbuffer(_tiny_model(classes=5), tmp_path / "five.tflite", None)
    _write_flatbuffer(_tiny_model(classes=10, input_shape=(16, 16, 1)), tmp_path / "small.tflite", None)
    save_model(_tiny_model(classes=10, bias=np.inf), CARD, tmp_path / "infinite.h5")
    errors = {
        "cut.tflite": "not a complete TensorFlow Lite model",
        "damaged.tflite": "refers to a tensor that its graph does not have",
        "five.tflite": "5 classes, and dataset digits has 10",
        "small.tflite": "no model card names it",
        "infinite.h5": "not a finite number",
        "missing.h5": "does not exist",
    }
    paths = [*(tmp_path / name for name in errors), artifacts.tflite]
    report = benchmark_artifacts(paths, "digits", limit=PICTURES, warmup_runs=1, runs=5)

    assert report.failed == report.rows[:-1]
    for row, pattern in zip(report.failed, errors.values(), strict=True):
        assert re.search(pattern, str(row.error)) and "\n" not in str(row.error) and row.hint, row
    assert report.reference == str(artifacts.tflite) and report.rows[-1].top1 == artifacts.top1


@pytest.mark.integration
@pytest.mark.usefixtures("forked_children")
def test_without_a_dataset_only_speed_size_and_memory(artifacts: Artifacts) -> None:
    report = _without_accuracy(artifacts.tflite)
    assert _notes_but_of_timing(report.rows[0]) == ["Add --dataset digits for its accuracy."]
    assert report.rows[0].floor_bytes is None, "no artifact tells it"
    _check_figures(report.rows[0])


@pytest.mark.usefixtures("forked_children")
def test_a_flatbuffer_tells_the_floor_that_its_export_recorded(artifacts: Artifacts, tmp_path: Path) -> None:
    record = json.dumps({"floor_bytes": artifacts.floor_bytes}).encode()
    flatbuffer = embed_metadata(artifacts.tflite.read_bytes(), {artifact.EXPORT_RECORD: record})
    (tmp_path / "model.tflite").write_bytes(flatbuffer)
    report = benchmark_artifacts([tmp_path / "model.tflite"], runs=2, min_duration_s=0.0, threads=[1, 2])
    assert [row.floor_bytes for row in report.rows] == [artifacts.floor_bytes] * 2


@pytest.mark.usefixtures("forked_children")
def test_a_damaged_record_of_the_export_hides_no_layers(artifacts: Artifacts, tmp_path: Path) -> None:
    flatbuffer = embed_metadata(artifacts.tflite.read_bytes(), {artifact.EXPORT_RECORD: b"[]"})
    (tmp_path / "model.tflite").write_bytes(flatbuffer)
    (row,) = benchmark_artifacts([tmp_path / "model.tflite"], runs=2, min_duration_s=0.0).rows
    assert (row.error, row.floor_bytes) == (None, None) and len(row.layers) > 2


@pytest.mark.integration
@pytest.mark.usefixtures("forked_children")
@pytest.mark.parametrize(("runtime", "name"), [("litert", "LiteRT"), ("lce", "LCE")])
def test_flatbuffers_run_in_either_runtime(runtime: str, name: str, artifacts: Artifacts) -> None:
    (row,) = benchmark_artifacts([artifacts.tflite], "digits", limit=PICTURES, runs=5, runtime=runtime).rows
    assert (row.error, row.runtime, row.top1, row.top5) == (None, name, artifacts.top1, artifacts.top5)
    assert ("claimed_operators" in row.settings) == (runtime == "litert")
    assert row.settings.get("claimed_operators") != 0, "the delegate ran nothing"


@pytest.mark.usefixtures("forked_children")
def test_a_local_row_says_how_it_was_timed(artifacts: Artifacts) -> None:
    options: dict[str, Any] = {"runs": 20, "min_duration_s": 0.0, "with_steps": True, "cpu_mask": "1"}
    report = benchmark_artifacts([artifacts.tflite], threads=[1, 2, 2], **options)
    assert not report.failed and [row.threads for row in report.rows] == [1, 2]
    for row in report.rows:
        assert row.runs == len(row.samples_ms) == 20 and row.duration_s == pytest.approx(sum(row.samples_ms) / 1000)
        assert row.model_sha256 == files.sha256(artifacts.tflite)
        assert row.library_sha256 == files.sha256(Path(bopkit_runtime.library_path()))
        assert len(row.steps) > 2 and all(step.latency_ms_mean >= 0 for step in row.steps)


@pytest.mark.usefixtures("forked_children")
@pytest.mark.parametrize("name", ["litert", "lce"])
def test_interpreters_on_several_cores_give_the_bits_of_one(name: str, artifacts: Artifacts, tmp_path: Path) -> None:
    if name == "litert":
        runtime = make_runtime("tflite", 1, name)
        runtime.load(artifacts.tflite)
    else:  # its library can be loaded once in a process, and other tests load it through its package
        runtime = object.__new__(LceRuntime)
        runtime.input_shape = SHAPE
    plan = dataclasses.replace(EVALUATION, batch_size=8)
    alone = RuntimeProcess(SHAPE, "tflite", name, artifacts.tflite)
    write_scores([alone], plan, "resize", tmp_path, print)
    alone.close()
    expected = (tmp_path / SCORES_FILE).read_bytes()
    with one_a_core(runtime, "tflite", name, artifacts.tflite, 3) as predictors:
        assert len(predictors) == 3 and isinstance(predictors[0], RuntimeProcess) == (name == "lce")
        write_scores(predictors, plan, "resize", tmp_path, print)
    assert (tmp_path / SCORES_FILE).read_bytes() == expected


@pytest.mark.usefixtures("forked_children")
def test_an_interpreter_that_dies_in_its_process_is_one_error(artifacts: Artifacts) -> None:
    process = RuntimeProcess(SHAPE, "tflite", "lce", artifacts.tflite)
    pictures = np.zeros((2, *SHAPE), np.float32)
    assert process.predict(pictures).shape == (2, 10)
    process._process.kill()
    with pytest.raises(BopkitError, match=r"process that ran .*model.tflite was ended by SIGKILL"):
        process.predict(pictures)
    process.close()


@pytest.mark.usefixtures("forked_children")
def test_a_run_without_a_model_says_how_to_get_one(tmp_path: Path) -> None:
    (row,) = benchmark_artifacts([write_run(tmp_path / "run")]).rows
    assert "run has no model.h5 yet" in str(row.error) and "same train command" in str(row.hint)


def test_without_the_native_runtime_lce_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bopkit_runtime", None)
    monkeypatch.delitem(sys.modules, "bopkit.benchmark.runtimes.litert", raising=False)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bopkit_runtime" else find_spec(name))
    assert default_runtime("tflite") == "lce" and default_runtime("keras") == "keras"
    with pytest.raises(BopkitError, match="needs bopkit-runtime.*--runtime lce"):
        make_runtime("tflite", 1, "litert")


def _notes_but_of_timing(row: BenchmarkRow) -> list[str]:
    """What a slow or busy machine adds has tests of its own."""
    timed = dataclasses.replace(row, notes=[])
    add_timing_notes(timed, Timing(runs=row.runs or 0))
    return [note for note in row.notes if note not in timed.notes]


def _without_accuracy(path: Path) -> BenchmarkReport:
    report = benchmark_artifacts([path], runs=5)
    assert report.reference is None and report.dataset is None
    assert report.rows[0].top1 is None and report.rows[0].preprocessing is None
    return report


def _check_figures(row: BenchmarkRow) -> None:
    latency = (row.latency_ms_min, row.latency_ms_p50, row.latency_ms_p90, row.latency_ms_p99)
    assert None not in latency and latency == tuple(sorted(latency)) and latency[0] > 0  # type: ignore[type-var]
    assert row.load_ms and row.first_inference_ms and row.runs and row.size_bytes
    assert row.settings["threads"] == 1
    assert 0 <= (row.model_memory_bytes or -1) <= _peak_bytes(row)


def _peak_bytes(row: BenchmarkRow) -> int:
    assert row.peak_memory_bytes is not None
    return row.peak_memory_bytes


def _replace_worker(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    (folder / "stand_in.py").write_text(f"def run_job(job, folder, progress):\n    {code}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(child, "_RUN_JOB", "stand_in:run_job")


def _tiny_model(classes: int, input_shape: tuple[int, int, int] = SHAPE, bias: float = 0.0) -> Any:
    tf = import_tensorflow()
    import larq as lq

    tf.keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    kernel = {"kernel_quantizer": lq.quantizers.NoOp(precision=1), "use_bias": False}
    # Without an offset the sums of the digits' few grey values are often 0, whose sign is left to rounding.
    offset = {"scale": False, "beta_initializer": tf.keras.initializers.RandomUniform(0.01, 0.3, seed=3)}
    layers = [
        tf.keras.layers.Input(input_shape),
        lq.layers.QuantConv2D(32, 3, strides=2, **kernel),
        tf.keras.layers.BatchNormalization(**offset),
        lq.layers.QuantConv2D(32, 3, strides=2, input_quantizer="ste_sign", **kernel),
        tf.keras.layers.BatchNormalization(**offset),
        tf.keras.layers.GlobalAveragePooling2D(),
        tf.keras.layers.Dense(classes, bias_initializer=tf.keras.initializers.Constant(bias)),
    ]
    model = tf.keras.Sequential(layers)
    for layer in model.layers:
        if isinstance(layer, lq.layers.QuantConv2D):
            layer.kernel.assign(rng.choice([-1.0, 1.0], layer.kernel.shape))
    return model


def _fit_last_layer(model: Any, images: np.ndarray, labels: np.ndarray) -> None:
    """Least squares on the pictures themselves: far from chance, so that wrong labels would show."""
    features = import_tensorflow().keras.Model(model.input, model.layers[-1].input).predict(images, verbose=0)
    kernel = np.linalg.lstsq(features, np.eye(10)[labels], rcond=None)[0]
    model.layers[-1].set_weights([kernel, np.zeros(10)])


def _write_flatbuffer(model: Any, path: Path, card: ModelCard | None) -> None:
    import larq_compute_engine as lce

    flatbuffer = lce.convert_keras_model(model)
    path.write_bytes(embed_card(flatbuffer, card) if card else flatbuffer)


def _write_saved_model(model: Any, path: Path, card: ModelCard | None) -> None:
    tf = import_tensorflow()
    tf.saved_model.save(model, str(path))
    if card:
        (path / artifact.SAVED_MODEL_CARD).parent.mkdir()
        (path / artifact.SAVED_MODEL_CARD).write_text(card.to_json())


def _with_wrong_tensor(flatbuffer: bytes) -> bytes:
    """The flatbuffer with an operator that reads a tensor which does not exist."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    model.subgraphs[0].operators[0].inputs = [10_000]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
