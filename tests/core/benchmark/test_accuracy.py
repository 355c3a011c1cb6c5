"""Evaluation on all cores and across interruptions: the same bits as one runtime that is left alone."""

import contextlib
import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from forks import ForkedPython

from bopkit.artifacts.card import ModelCard
from bopkit.benchmark import accuracy, benchmark_artifacts, evaluation_checkpoint, worker
from bopkit.benchmark.accuracy import checkpoint_identity, plan_evaluation, write_scores
from bopkit.benchmark.devices import local
from bopkit.benchmark.evaluation_checkpoint import EvaluationCheckpoint
from bopkit.benchmark.job import CHECKPOINT_FILE, LABELS_FILE, SCORES_FILE, Job
from bopkit.benchmark.results import BenchmarkRow
from bopkit.benchmark.runtimes.parallel import RuntimeDiedError, predicted
from bopkit.benchmark.runtimes.runtime import Runtime
from bopkit.errors import BopkitError, UsageError

PICTURES = 200
BATCH = 8
CLASSES = 10


class Slow:
    """Scores that depend on every pixel, after a time that depends on the picture; notes what it computed."""

    input_shape = (32, 32, 1)

    def __init__(self, fail_after=None, error=KeyboardInterrupt, seconds=0.0):
        self.computed = 0
        self._fail_after, self._error, self._seconds = fail_after, error, seconds
        self._weights = np.random.default_rng(0).normal(size=(32 * 32, CLASSES)).astype(np.float32)

    def predict(self, pictures):
        if self._fail_after is not None and self.computed >= self._fail_after:
            raise self._error
        self.computed += len(pictures)
        time.sleep(self._seconds + float(pictures[0].sum()) % 0.003)
        return np.stack([each.reshape(-1) @ self._weights for each in pictures])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bopkit" / "evaluations"


@pytest.fixture(scope="module")
def plan():
    return plan_evaluation("digits", None, None, None, PICTURES, BATCH, resume=True)


def run(plan, predictors, folder, checkpoint=None, progress=lambda line: None):
    folder.mkdir(exist_ok=True)
    found = write_scores(predictors, plan, "resize", folder, progress, checkpoint)
    return found, (folder / SCORES_FILE).read_bytes(), (folder / LABELS_FILE).read_bytes()


def keep(folder, progress=lambda line: None):
    folder.mkdir(parents=True, exist_ok=True)
    return EvaluationCheckpoint(folder, PICTURES, CLASSES, progress)


def test_several_predictors_give_the_bits_of_one(plan, tmp_path):
    alone, several = (run(plan, [Slow() for _ in range(count)], tmp_path / str(count)) for count in (1, 5))
    assert several[1:] == alone[1:]
    assert several[0].pictures == several[0].computed == PICTURES and several[0].images_per_second > 0


def test_batches_keep_their_order_and_few_are_taken_ahead():
    taken, given = [], []

    def batches():
        for number in range(60):
            taken.append(number)
            assert len(taken) - len(given) <= 2 * 3
            yield np.full((2, 1), number * 37 % 60, np.float32), number

    class Echo:
        def predict(self, pictures):
            time.sleep(float(pictures[0, 0]) / 60 * 0.01)
            return pictures

    for scores, number in predicted([Echo(), Echo(), Echo()], batches()):
        assert scores[0, 0] == number * 37 % 60
        given.append(number)
    assert given == list(range(60))


def test_what_a_thread_raises_ends_the_evaluation_at_once(plan, tmp_path):
    before = threading.active_count()
    steady = Slow()
    with pytest.raises(BopkitError, match="it broke"):
        run(plan, [steady, Slow(fail_after=16, error=BopkitError("it broke"))], tmp_path / "broken")
    assert steady.computed < PICTURES - 64
    deadline_s = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert threading.active_count() <= before


@pytest.mark.parametrize("computed", [0, 40, 120])
def test_an_interrupted_evaluation_goes_on_with_the_same_bits(plan, computed, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "SAVE_EVERY_S", 0)
    _, scores, labels = run(plan, [Slow()], tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(plan, [Slow(fail_after=computed)], tmp_path / "first", keep(tmp_path / "saved"))
    lines, second = [], Slow()
    found, *files = run(plan, [second], tmp_path / "second", keep(tmp_path / "saved"), lines.append)
    assert files == [scores, labels]
    kept = PICTURES - second.computed
    assert found.computed == second.computed and max(0, computed - 8) <= kept <= computed
    expected = [f"resuming: {kept} of {PICTURES} pictures are done already"] if kept else []
    assert lines == expected
    third = Slow()
    found, *files = run(plan, [third], tmp_path / "third", keep(tmp_path / "saved"))
    assert files == [scores, labels] and (third.computed, found.images_per_second) == (0, None)


def damage_first_byte(path):
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        damage_first_byte,
        lambda path: path.write_bytes(path.read_bytes()[:-4]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: shutil.copy(path.with_name("000000000032-000000000040.chunk"), path),
    ],
)
def test_a_damaged_chunk_alone_is_computed_again(plan, damage, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "SAVE_EVERY_S", 0)
    _, *whole = run(plan, [Slow()], tmp_path / "whole", keep(tmp_path / "saved"))
    assert len(list((tmp_path / "saved").iterdir())) == PICTURES // BATCH
    damage(tmp_path / "saved" / "000000000080-000000000088.chunk")
    again = Slow()
    _, *files = run(plan, [again], tmp_path / "again", keep(tmp_path / "saved"))
    assert files == whole and again.computed == BATCH


def test_a_disk_that_cannot_be_written_ends_nothing(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "SAVE_EVERY_S", 0)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    lines = []
    with evaluation_checkpoint.open_checkpoint({}, PICTURES, CLASSES, lines.append) as saved:
        assert saved is None
    assert len(lines) == 1 and "No checkpoint is saved" in lines[0]

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    lines.clear()
    monkeypatch.setattr(evaluation_checkpoint.files, "write_bytes", full)
    found, *_ = run(plan, [Slow()], tmp_path / "full", keep(tmp_path / "saved", lines.append))
    assert found.pictures == PICTURES
    assert len(lines) == 1 and lines[0].startswith("The disk is full")


def test_two_at_a_time_do_not_share_a_folder(cache, monkeypatch):
    monkeypatch.setattr(evaluation_checkpoint, "LOCK_PATIENCE_S", 0.1)
    lines, facts = [], {"artifact": "a"}
    with evaluation_checkpoint.open_checkpoint(facts, PICTURES, CLASSES, lines.append) as first:
        with evaluation_checkpoint.open_checkpoint(facts, PICTURES, CLASSES, lines.append) as second:
            assert first is not None and second is None and "another process" in lines[0]
        with evaluation_checkpoint.open_checkpoint({"artifact": "b"}, PICTURES, CLASSES, lines.append) as other:
            assert other is not None and other.folder != first.folder and len(lines) == 1
    with evaluation_checkpoint.open_checkpoint(facts, PICTURES, CLASSES, lines.append) as later:
        assert later is not None and later.folder == first.folder


def test_scores_that_nobody_asks_for_are_removed(cache):
    month_ago_s = time.time() - 31 * 24 * 3600
    for name in ("old", "new"):
        (cache / name).mkdir(parents=True)
    os.utime(cache / "old", (month_ago_s, month_ago_s))
    with evaluation_checkpoint.open_checkpoint({}, PICTURES, CLASSES, print) as saved:
        assert {each.name for each in cache.iterdir()} == {"new", saved.folder.name}


def test_whatever_decides_the_scores_changes_their_key(plan, tmp_path):
    import dataclasses

    (tmp_path / "a.tflite").write_bytes(b"a")
    (tmp_path / "b.tflite").write_bytes(b"b")
    usual = {"plan": plan, "preprocessing": "resize", "runtime": "LiteRT", "settings": {"threads": 1}}
    usual["path"] = tmp_path / "a.tflite"
    others = [
        {"plan": dataclasses.replace(plan, split="train")},
        {"plan": dataclasses.replace(plan, pictures=100)},
        {"preprocessing": "shift"},
        {"runtime": "LCE"},
        {"settings": {"threads": 2}},
        {"path": tmp_path / "b.tflite"},
    ]
    facts = [checkpoint_identity(**{**usual, **other}) for other in others]
    before = checkpoint_identity(**usual)
    assert before == checkpoint_identity(**usual)
    assert all(each != checkpoint_identity(**usual) for each in facts)
    (tmp_path / "a.tflite").write_bytes(b"b")
    assert checkpoint_identity(**usual) not in (before, facts[-1])


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_accuracy as here
from bopkit.benchmark import accuracy
from bopkit.benchmark.accuracy import plan_evaluation
accuracy.SAVE_EVERY_S = 0
plan = plan_evaluation("digits", None, None, None, here.PICTURES, here.BATCH, resume=True)
folder = Path({folder!r})
print("started", flush=True)
here.run(plan, [here.Slow(seconds=0.02), here.Slow(seconds=0.02)], folder / "first", here.keep(folder / "saved"))
"""


@pytest.mark.integration
def test_killed_at_a_random_moment_and_resumed(plan, tmp_path):
    _, *whole = run(plan, [Slow(), Slow()], tmp_path / "whole")
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    kept = []
    for delay_s in np.random.default_rng().uniform(0.02, 0.35, 2):  # of 0.3 s that it takes
        shutil.rmtree(tmp_path / "saved", ignore_errors=True)
        with ForkedPython([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"started\n"
            deadline_s = time.monotonic() + 60
            while not list((tmp_path / "saved").glob("*.chunk")) and time.monotonic() < deadline_s:
                time.sleep(0.005)
            time.sleep(delay_s)
            process.kill()
        second = Slow()
        _, *files = run(plan, [second], tmp_path / "second", keep(tmp_path / "saved"))
        assert files == whole, f"killed after {delay_s} s"
        kept.append(PICTURES - second.computed)
    assert min(kept) > 0, "nothing was kept"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("number", "code"),
    [
        *[(signal.SIGINT, 130), (signal.SIGTERM, 143)],
        *[pytest.param(*each, marks=pytest.mark.release) for each in [(signal.SIGHUP, 129), (signal.SIGKILL, -9)]],
    ],
)
def test_a_signal_ends_every_process(number, code, tmp_path):
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "stand_in.py").write_text("import time\ndef run_job(job, folder, progress):\n    time.sleep(60)\n")
    start = """
import signal
from bopkit.benchmark import child
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which tests under nohup ignore
child._RUN_JOB = "stand_in:run_job"
from bopkit.cli import main
main()
"""
    command = [sys.executable, "-c", start, "benchmark", str(tmp_path / "model.h5"), "--dataset", "digits"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        while "accuracy" not in process.stderr.readline():
            assert process.poll() is None
        children = []
        while not children:
            children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(1)  # the child is past its start
        sent_s = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=10) == code
        assert time.monotonic() - sent_s < 3
    _, alive = psutil.wait_procs(children, timeout=3)
    assert not alive


def measured(scores, error=None):
    """What stands in for the measuring process: scores of a name, or an error."""

    def measure(job, folder, progress):
        name = Path(job.artifact).name
        row = BenchmarkRow(job.artifact, classes=CLASSES, error=error if name == "broken.h5" else None, hint="Mend it.")
        if job.evaluation is not None and row.error is None:
            np.save(folder / SCORES_FILE, scores[name])
            np.save(folder / LABELS_FILE, np.zeros(PICTURES, np.int64))
            row.pictures = PICTURES
        return row

    return measure


def one_hot(named):
    return np.eye(CLASSES, dtype=np.float32)[np.broadcast_to(named, PICTURES)]


@pytest.mark.parametrize(
    ("own", "dataset", "fits"),
    [
        (("cat", "dog"), ("Cat", "DOG"), True),
        (("cat", "dog"), ("cat", "hound"), False),
        (("cat", "dog"), ("dog", "cat"), False),
        (("cat", "dog"), ("0", "1"), True),
        ((), ("cat", "dog"), True),
        (("0", "1"), ("cat", "dog"), True),
        (("ship", "car"), ("cat", "dog"), False),
    ],
)
def test_classes_of_the_same_number_but_other_names(own, dataset, fits, plan):
    card = ModelCard("tiny", (8, 8, 1), (-1.0, 1.0), "resize", class_names=own)
    named = dataclasses.replace(plan, class_names=dataset)
    with contextlib.nullcontext() if fits else pytest.raises(BopkitError, match="are not those of dataset digits"):
        accuracy.check_classes(named, 2, card)


def test_a_reference_need_not_be_a_row(monkeypatch):
    half = np.arange(PICTURES) % 2
    scores = {"a.h5": one_hot(half), "b.h5": one_hot(1), "reference.h5": one_hot(0)}
    monkeypatch.setattr(local, "measure_in_child", measured(scores, "It is damaged."))
    monkeypatch.setattr("bopkit.artifacts.artifact.read_card", lambda path: None)
    report = benchmark_artifacts(["a.h5", "b.h5"], "digits", limit=PICTURES, reference="reference.h5")
    assert [row.artifact for row in report.rows] == ["a.h5", "b.h5"] and report.reference == "reference.h5"
    assert [row.top1_agreement for row in report.rows] == [0.5, 0.0]
    first = benchmark_artifacts(["a.h5", "b.h5"], "digits", limit=PICTURES)
    assert first.reference == "a.h5" and [row.top1_agreement for row in first.rows] == [None, 0.5]
    second = benchmark_artifacts(["a.h5", "b.h5"], "digits", limit=PICTURES, reference="b.h5")
    assert [row.top1_agreement for row in second.rows] == [0.5, None]
    low, high = second.rows[0].top1_agreement_interval
    assert low < 0.5 < high and second.rows[0].class_top1[0] == 0.5
    with pytest.raises(BopkitError, match=r"reference broken.h5 cannot be measured: It is damaged\. Mend it\."):
        benchmark_artifacts(["a.h5"], "digits", limit=PICTURES, reference="broken.h5")
    with pytest.raises(UsageError, match="--reference needs a dataset"):
        benchmark_artifacts(["a.h5"], reference="b.h5")


def test_saved_scores_live_until_the_report_is_delivered(cache, monkeypatch):
    plain = measured({"a.h5": one_hot(0)})
    timed = []

    def measure(job, folder, progress):
        if job.evaluation is None:
            timed.append(len(list(cache.iterdir())))
            return plain(job, folder, progress)
        with evaluation_checkpoint.open_checkpoint({"artifact": job.artifact}, PICTURES, CLASSES, progress) as saved:
            (folder / CHECKPOINT_FILE).write_text(str(saved.folder))
        return plain(job, folder, progress)

    monkeypatch.setattr(local, "measure_in_child", measure)
    monkeypatch.setattr("bopkit.artifacts.artifact.read_card", lambda path: None)

    def full(report):
        assert report.rows[0].top1 is not None
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        benchmark_artifacts(["a.h5"], "digits", limit=PICTURES, deliver=full)
    assert len(list(cache.iterdir())) == 1
    benchmark_artifacts(["a.h5"], "digits", limit=PICTURES)
    assert timed == [1, 1] and list(cache.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeDiedError("its process was ended by SIGKILL"), BopkitError("wrong labels")])
def test_saved_scores_outlive_the_process_of_a_runtime_and_no_wrong_pictures(error, plan, tmp_path, monkeypatch):
    saved = keep(tmp_path / "saved")
    saved.save(0, np.zeros((BATCH, CLASSES), np.float32), np.zeros(BATCH, np.int64))

    def fail(*arguments):
        raise error

    monkeypatch.setattr(worker, "write_scores", fail)
    monkeypatch.setattr(worker, "checkpoint_identity", lambda *arguments: {})
    monkeypatch.setattr(worker, "open_checkpoint", lambda *arguments: contextlib.nullcontext(saved))
    monkeypatch.setattr(worker, "one_a_core", lambda *arguments: contextlib.nullcontext([]))
    row, job = BenchmarkRow("a.tflite", kind="tflite", preprocessing="resize"), Job("a.tflite", 2, None, plan)
    with pytest.raises(BopkitError, match=str(error)):
        worker._evaluate(SimpleNamespace(name="LCE", settings={}), job, plan, Path("a.tflite"), row, tmp_path, print)
    assert saved.folder.exists() == isinstance(error, RuntimeDiedError)


def test_what_the_system_refuses_for_one_artifact_leaves_the_others(cache, monkeypatch):
    plain = measured({"a.h5": one_hot(0), "b.h5": one_hot(1)})

    def measure(job, folder, progress):
        if job.artifact == "a.h5" and job.timing is not None:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        return plain(job, folder, progress)

    monkeypatch.setattr(local, "measure_in_child", measure)
    monkeypatch.setattr("bopkit.artifacts.artifact.read_card", lambda path: None)
    first, second = benchmark_artifacts(["a.h5", "b.h5"], "digits", limit=PICTURES).rows
    assert "The disk is full" in first.error and second.error is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": []},
        {"threads": [257]},
        {"runner": __file__},
        {"cool_down_s": float("nan")},
        {"min_duration_s": float("inf")},
        {"runner": "no_such_file"},
    ],
)
def test_numbers_and_files_that_cannot_be_are_refused_first(wrong):
    with pytest.raises(UsageError):
        benchmark_artifacts(["a.tflite"], **wrong)


def test_scores_that_are_not_one_row_a_picture_are_refused():
    """A file that drops all pictures but the first would be measured on that one."""

    class FirstOnly(Runtime):
        name = "FirstOnly"

        def open(self, path):
            pass

        def run(self, inputs):
            return [inputs[0][:1].reshape(1, -1)]

    pictures = np.zeros((64, 2, 2, 1), np.float32)
    assert FirstOnly(1).predict(pictures[:1]).shape == (1, 4)
    with pytest.raises(BopkitError, match="FirstOnly gave 1 rows of scores for 64 pictures."):
        FirstOnly(1).predict(pictures)
