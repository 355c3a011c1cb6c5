"""Ctrl-C, a killed process and a full disk: nothing half-written, and the same command goes on."""

import functools
import json
import resource
import shutil
import signal

import pytest
from command_line import bopkit, failed, start_bopkit, succeeded

pytestmark = pytest.mark.integration

TRAIN = [
    *"train binarynet --dataset digits --hparams-set bop_digits --validationset --no-tensorboard".split(),
    *"--hparams epochs=3,filters=16 --output-dir".split(),
]


def fill_disk_at(size_bytes):
    """Make the calling process fail to write a file beyond that size, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def on_a_full_disk(*arguments, size_bytes):
    return bopkit(*arguments, preexec_fn=functools.partial(fill_disk_at, size_bytes))


def assert_no_scratch(folder):
    assert not list(folder.rglob(".bopkit-*"))
    assert not list(folder.rglob("*tempstate*"))


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def stop_in_second_epoch(run, stop):
    """Start the run and send it a signal when the row of its first epoch appears; exit code and last lines."""
    process = start_bopkit(*TRAIN, run)
    for line in process.stderr:
        if line.startswith("epoch 1/3"):
            break
    process.send_signal(stop)
    _, rest = process.communicate(timeout=60)
    return process.returncode, rest


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    succeeded(bopkit(*TRAIN, run))
    return run


def assert_resumes_to_the_same_end(run, whole_run):
    assert not (run / "model.h5").exists()
    assert_no_scratch(run)
    result = bopkit(*TRAIN, run)
    assert succeeded(result) == f"{run / 'model.h5'}\n"
    assert "resuming after epoch 1 of 3" in result.stderr
    assert losses(run) == losses(whole_run)


def test_an_interrupted_run_resumes(whole_run, tmp_path):
    code, rest = stop_in_second_epoch(tmp_path / "run", signal.SIGINT)
    assert code == 130
    (line,) = rest.splitlines()
    assert line.startswith("Interrupted.") and "--output-dir" in line
    assert_resumes_to_the_same_end(tmp_path / "run", whole_run)


def test_a_killed_run_resumes_also_after_a_full_disk(whole_run, tmp_path):
    run = tmp_path / "run"
    code, _ = stop_in_second_epoch(run, signal.SIGKILL)
    assert code == -signal.SIGKILL
    checkpoint_bytes = max(path.stat().st_size for path in (run / "checkpoints").iterdir())
    line = failed(on_a_full_disk(*TRAIN, run, size_bytes=checkpoint_bytes // 2))
    assert "The disk is full" in line and "Free some space" in line
    assert_resumes_to_the_same_end(run, whole_run)


def test_a_full_disk_at_the_end_of_a_run(whole_run, tmp_path):
    """Everything fits but the network itself."""
    run = shutil.copytree(whole_run, tmp_path / "run")
    size_bytes = (run / "model.h5").stat().st_size
    (run / "model.h5").unlink()
    line = failed(on_a_full_disk(*TRAIN, run, size_bytes=size_bytes - 1))
    assert "Free some" in line
    assert not (run / "model.h5").exists()
    assert_no_scratch(tmp_path)
    succeeded(bopkit(*TRAIN, run))
    assert (run / "model.h5").stat().st_size == size_bytes


def test_a_full_disk_while_writing_a_network(whole_run, tmp_path):
    model_file = tmp_path / "model.h5"
    shutil.copy(whole_run / "model.h5", model_file)
    before = model_file.read_bytes()
    line = failed(on_a_full_disk("init", "binarynet", "-o", model_file, size_bytes=100_000))
    assert "Free some" in line
    assert model_file.read_bytes() == before
    assert_no_scratch(tmp_path)


@pytest.mark.parametrize("option", ["--tflite", "--savedmodel"])
def test_a_full_disk_while_exporting(option, whole_run, tmp_path):
    shutil.copy(whole_run / "model.h5", tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"an earlier export")
    (tmp_path / "model" / "1").mkdir(parents=True)
    line = failed(on_a_full_disk("export", tmp_path / "model.h5", option, size_bytes=20_000))
    assert "The disk is full" in line
    assert (tmp_path / "model.tflite").read_bytes() == b"an earlier export"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["1"]
    assert not list((tmp_path / "model" / "1").iterdir())
    assert_no_scratch(tmp_path)
