"""Ctrl-C, SIGTERM, kill -9 and a full disk: nothing half-written, and the same command goes on to the same end."""

import contextlib
import json
import random
import shutil
import signal
import time

import h5py
import numpy as np
import pytest
from command_line import ForkedBopkit, failed, forked, start_bopkit, succeeded
from forks import ForkedPython

from bopkit.runs.directory import list_places

pytestmark = pytest.mark.integration

EPOCHS, STEPS = 5, 16
TRAIN = [
    *"train tiny.network --dataset digits --hparams-set bop_digits --validationset --no-tensorboard".split(),
    *["--hparams", f"epochs={EPOCHS},filters=8,batch_size=32", "--limit-steps", STEPS],
    *"--precision float32 --device cpu --log-every 5 --checkpoint-every 0.001 --output-dir".split(),
]
TIMED = {"images_per_second", "epoch_seconds"}
SEED = 7


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert succeeded(forked(*TRAIN, run)) == f"{run / 'model.h5'}\n"
    return run


@pytest.fixture
def start(tmp_path):
    """Starts `bopkit ARGUMENTS...` in a fork that writes what it says into `tmp_path`."""
    return lambda *arguments, **options: ForkedBopkit(*arguments, output=tmp_path / "said", **options)


def assert_no_scratch(folder):
    assert not list(folder.rglob(".bopkit-*"))
    assert not list(folder.rglob("*tempstate*"))


def contents(file):
    """Every array and attribute of an HDF5 file, by path: weights, architecture, model card."""
    found = {}

    def visit(path, item):
        found.update({f"{path}@{name}": value for name, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[path] = item[()]

    with h5py.File(file) as opened:
        visit("", opened)
        opened.visititems(visit)
    return found


def rows_of(run):
    """The rows of a run, without what a clock decided."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


def assert_equal_runs(run, whole_run):
    """The same rows, bit for bit the same networks, and nothing half-written among the checkpoints."""
    assert rows_of(run) == rows_of(whole_run)
    for name in ("model.h5", "model_last.h5"):
        here, there = contents(run / name), contents(whole_run / name)
        assert here.keys() == there.keys()
        assert any(path.startswith("model_weights/conv2/") for path in here)
        for path in here:
            np.testing.assert_array_equal(here[path], there[path], err_msg=path)
    assert_no_scratch(run / "checkpoints")


def last_checkpoint(run):
    """Steps after which the run's newest checkpoint is."""
    return max((epoch * STEPS + step for epoch, step in list_places(run / "checkpoints")), default=0)


def bytes_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_for_new_checkpoint(run, process, step=0):
    """Return when the process has saved, at `step` or later, or has ended; says whether it still runs."""
    step = max(step, last_checkpoint(run) + 1)
    while process.is_running() and last_checkpoint(run) < step:
        time.sleep(0.005)
    return process.is_running()


def wait_for_a_half_written_file(run, process):
    """Return when the process has begun to write a checkpoint or a row's file, or has ended."""

    def half_written():
        while True:
            with contextlib.suppress(FileNotFoundError):  # a checkpoint was removed while its folder was listed
                return set(run.rglob(".bopkit-*"))

    before = half_written()
    while process.is_running() and half_written() <= before:
        pass


def assert_left_after_a_checkpoint(run, said):
    """What a stopped run says is where its newest checkpoint is."""
    (line,) = [line for line in said.splitlines() if line.startswith("stopping after step ")]
    assert line.endswith("; the same command resumes from there")
    step, epoch = (int(word) for word in line.partition(";")[0].split() if word.isdigit())
    assert last_checkpoint(run) == (epoch - 1) * STEPS + step
    assert not (run / "model_last.h5").exists()
    assert_no_scratch(run)


def test_an_interrupted_run_resumes_also_after_a_full_disk(whole_run, start, tmp_path):
    run = tmp_path / "run"
    process = start_bopkit(*TRAIN, run, start=ForkedPython)
    for line in process.stderr:
        if line.startswith(f"epoch 1/{EPOCHS}"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("Interrupted.") and "--output-dir" in said.splitlines()[-1]
    assert_left_after_a_checkpoint(run, said)

    before = bytes_of(run / "checkpoints")
    size_bytes = max(map(len, before.values())) // 2
    line = failed(start(*TRAIN, run, size_bytes=size_bytes).finished())
    assert "The disk is full" in line and "Free some space" in line
    assert bytes_of(run / "checkpoints") == before
    assert_no_scratch(run)

    result = start(*TRAIN, run).finished()
    assert succeeded(result) == f"{run / 'model.h5'}\n"
    assert "resuming after epoch " in result.stderr
    assert_equal_runs(run, whole_run)


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.release)])
def test_a_run_killed_at_any_moment_resumes(count, whole_run, start, tmp_path):
    """SIGTERM once, then kill -9 at random times, every other time while a checkpoint is being written."""
    run, kills, resumed = tmp_path / "run", 0, []
    process = start(*TRAIN, run)
    assert wait_for_new_checkpoint(run, process)
    process.send_signal(signal.SIGTERM)
    result = process.finished()
    assert result.returncode == 143, result.stderr
    assert "Told to stop by SIGTERM. Existing files are unchanged" in result.stderr
    assert_left_after_a_checkpoint(run, result.stderr)

    rng = random.Random(SEED)
    for number, step in enumerate(sorted(rng.sample(range(EPOCHS * STEPS - STEPS), count))):
        process = start(*TRAIN, run)
        if wait_for_new_checkpoint(run, process, step):
            time.sleep(rng.uniform(0, 0.05))
            if number % 2:
                wait_for_a_half_written_file(run, process)
            process.send_signal(signal.SIGKILL)
        result = process.finished()
        kills += result.returncode == -signal.SIGKILL
        resumed += [line for line in result.stderr.splitlines() if line.startswith("resuming")]
        assert "Warning: checkpoint" not in result.stderr  # a checkpoint appears whole: no kill leaves a damaged one
    print(f"random seed {SEED}: {kills} kills", *resumed, sep="\n")
    assert kills >= count - 2 and kills > 0
    assert any(", step " in line for line in resumed)
    assert not (run / "model_last.h5").exists()
    succeeded(start(*TRAIN, run).finished())
    assert_equal_runs(run, whole_run)


def test_a_full_disk_at_the_end_of_a_run(whole_run, start, tmp_path):
    """Everything fits but the network itself."""
    run = shutil.copytree(whole_run, tmp_path / "run")
    size_bytes = (run / "model_last.h5").stat().st_size
    (run / "model_last.h5").unlink()
    line = failed(start(*TRAIN, run, size_bytes=size_bytes - 1).finished())
    assert "Free some" in line
    assert not (run / "model_last.h5").exists()
    assert_no_scratch(tmp_path)
    succeeded(start(*TRAIN, run).finished())
    assert_equal_runs(run, whole_run)


def test_a_full_disk_while_writing_a_network(whole_run, start, tmp_path):
    model_file = tmp_path / "model.h5"
    shutil.copy(whole_run / "model.h5", model_file)
    before = model_file.read_bytes()
    line = failed(start("init", "binarynet", "-o", model_file, size_bytes=100_000).finished())
    assert "Free some" in line
    assert model_file.read_bytes() == before
    assert_no_scratch(tmp_path)


@pytest.mark.parametrize("option", ["--tflite", pytest.param("--savedmodel", marks=pytest.mark.release)])
def test_a_full_disk_while_exporting(option, whole_run, start, tmp_path):
    shutil.copy(whole_run / "model.h5", tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"an earlier export")
    (tmp_path / "model" / "1").mkdir(parents=True)
    line = failed(start("export", tmp_path / "model.h5", option, size_bytes=20_000).finished())
    assert "The disk is full" in line
    assert (tmp_path / "model.tflite").read_bytes() == b"an earlier export"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["1"]
    assert not list((tmp_path / "model" / "1").iterdir())
    assert_no_scratch(tmp_path)


@pytest.mark.parametrize("stop", [pytest.param(signal.SIGKILL, marks=pytest.mark.release), signal.SIGINT])
def test_a_stop_while_exporting_leaves_the_old_artifacts_whole(stop, whole_run, start, tmp_path):
    shutil.copy(whole_run / "model.h5", tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"an earlier export")
    (tmp_path / "model" / "1").mkdir(parents=True)
    export = start("export", tmp_path / "model.h5")
    while not list(tmp_path.glob(".bopkit-*/model/saved_model.pb")):
        assert export.is_running()
        time.sleep(0.01)
    export.send_signal(stop)
    result = export.finished()
    assert (tmp_path / "model.tflite").read_bytes() == b"an earlier export"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["1"]
    assert not list((tmp_path / "model" / "1").iterdir())
    if stop == signal.SIGINT:
        assert result.returncode == 130
        assert result.stderr.splitlines()[-1].startswith("Interrupted. Existing files are unchanged")
        assert_no_scratch(tmp_path)
