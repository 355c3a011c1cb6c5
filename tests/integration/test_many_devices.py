"""Mirrored and multi-worker runs: the same losses as on one device; and the death of a worker."""

import contextlib
import json
import signal
import socket
import time

import pytest
from command_line import ForkedBopkit, failed, forked, succeeded

from bopkit.keras2 import import_tensorflow
from bopkit.runs.directory import list_places

pytestmark = pytest.mark.integration

STEPS = 10

SEED = 2
"""One of those with which the first ten steps agree, as they do with 0, 1, 3, 4 and 5.

Two devices add up a batch's gradients, and its batch-norm sums, in another order than one does: the last bit differs.
That is all, until an activation or a kernel's average is so near to zero, or to the threshold, that this bit decides
its sign. Such a step comes sooner or later with every seed, and from then on the two runs are different ones.
"""

TRAIN = [
    *"train tiny.network --dataset digits --hparams-set bop_digits --validationset --no-tensorboard".split(),
    *["--hparams", "filters=8,batch_size=32", "--limit-steps", STEPS],
    *"--precision float32 --log-every 1 --checkpoint-every 0.01 --sync-batch-norm".split(),
    *["--seed", SEED],
]
TWO_EPOCHS = ("--hparams", "epochs=2")
ENDS_WITHIN_S = 60
"""A worker notices within that time that another one has died."""


def rows_of(run, kind):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def losses_of(rows):
    """The loss of each step of the first epoch; rows have means since the epoch's begin."""
    sums = [0, *(row["step"] * row["loss"] for row in rows)]
    return [after - before for before, after in zip(sums, sums[1:], strict=False)]


def assert_equal_first_epochs(run, reference):
    """Ten steps and a validation on other devices: equal but for rounding, flips included."""
    both_losses = [losses_of(rows_of(folder, "step")[:STEPS]) for folder in (run, reference)]
    assert len(both_losses[0]) == STEPS
    assert both_losses[0] == pytest.approx(both_losses[1], abs=1e-4)
    print("largest difference of a loss:", max(abs(a - b) for a, b in zip(*both_losses, strict=True)))
    both = [[*rows_of(folder, "step")[:STEPS], rows_of(folder, "epoch")[0]] for folder in (run, reference)]
    for here, there in zip(*both, strict=True):
        assert here.keys() == there.keys()
        for name in here.keys() - {"kind", "images_per_second", "epoch_seconds", "layers"}:
            assert here[name] == pytest.approx(there[name], abs=1e-4), (here["step"], name)
    assert (run / "config.json").read_bytes() == (reference / "config.json").read_bytes()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The run on one device."""
    folder = tmp_path_factory.mktemp("one")
    command = [*TRAIN, *TWO_EPOCHS, "--strategy", "one", "--device", "cpu", "--output-dir", folder / "run"]
    succeeded(forked(*command))
    return folder / "run"


def test_two_mirrored_devices_train_as_one(reference, tmp_path):
    command = [*TRAIN, *TWO_EPOCHS, "--strategy", "mirrored", "--device", "cpu*2", "--output-dir", tmp_path / "run"]
    result = forked(*command)
    assert succeeded(result) == f"{tmp_path / 'run' / 'model.h5'}\n"
    assert "on mirrored, 2 CPU replicas" in result.stderr
    assert_equal_first_epochs(tmp_path / "run", reference)


class Workers:
    """Two processes of `bopkit train` on this machine; each knows of both through TF_CONFIG.

    Args:
        run: The run directory; what the workers print goes into files beside it.
        options: What to type behind the command, for each worker.
        before: Python code that each worker runs first.
    """

    def __init__(self, run, options=(TWO_EPOCHS, TWO_EPOCHS), before=""):
        self._run = run
        self._workers = []
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            workers = ["{}:{}".format(*each.getsockname()) for each in sockets]
        for index in range(2):
            task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            command = [*TRAIN, "--device", "cpu", "--output-dir", run, *options[index]]
            said, environment = run.parent / f"said{index}", {"TF_CONFIG": json.dumps(task)}
            self._workers.append(ForkedBopkit(*command, output=said, environment=environment, before=before))

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for worker in self._workers:
            worker.kill()

    def printed(self, index):
        """What a worker has printed on stderr so far."""
        return self._workers[index].printed()

    def send_signal(self, index, number):
        """Send one worker a signal."""
        self._workers[index].send_signal(number)

    def signal_after(self, epoch, index, number):
        """Send one worker a signal in the middle of the epoch after `epoch`."""
        sign = f'"step": {epoch * STEPS + 1},'
        metrics_file = self._run / "metrics.jsonl"
        while not (metrics_file.exists() and sign in metrics_file.read_text()):
            assert all(worker.is_running() for worker in self._workers), self.printed(0)
            time.sleep(0.02)
        self.send_signal(index, number)

    def finished(self, index, timeout_s=300):
        """The finished process of a worker, as `subprocess.run` returns it."""
        return self._workers[index].finished(timeout_s)


RECIPE = (
    *("--hparams", "epochs=1,mixup=0.4,cutmix=1.0,random_erasing=0.5,randaugment_count=1,label_smoothing=0.1"),
    *("--hparams", "class_weights=balanced,teacher_weight=0.5"),
)


def test_devices_and_workers_mix_erase_and_are_taught_as_one(tmp_path):
    tf = import_tensorflow()
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    stack = [layers.Input((32, 32, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(10, "softmax")]
    teacher = tf.keras.Sequential(stack)
    teacher.save(tmp_path / "teacher.keras")
    tf.saved_model.save(teacher, str(tmp_path / "saved"))
    names = ("--teacher", tmp_path / "teacher.keras", "--teacher", tmp_path / "saved")
    learning = (*RECIPE, *names, "--teacher-preprocess-fn", "resize:0..1")
    runs = {name: tmp_path / name for name in ("one", "mirrored", "workers")}
    for name, device in (("one", "cpu"), ("mirrored", "cpu*2")):
        where = ("--strategy", name, "--device", device, "--output-dir", runs[name])
        succeeded(forked(*TRAIN, *learning, *where))
    with Workers(runs["workers"], options=(learning, learning)) as workers:
        for index in range(2):
            succeeded(workers.finished(index))
    for name in ("mirrored", "workers"):
        assert_equal_first_epochs(runs[name], runs["one"])


SLOW_VALIDATION = """
import json, os, sys, time
from bopkit.training import loop, pipelines, step
pipelines.EVALUATION_BATCH_SIZE, loop.VALIDATION_ROUND_BATCHES = 8, 1
evaluate = step.TrainStep.evaluate
def slowly(self, batches, stop):
    print("validating", file=sys.stderr, flush=True)
    time.sleep(0.05 + 0.1 * json.loads(os.environ["TF_CONFIG"])["task"]["index"])
    return evaluate(self, batches, stop)
step.TrainStep.evaluate = slowly
"""
"""A validation of many rounds, in which worker 1 is slower than worker 0."""


@pytest.mark.release
def test_workers_of_different_speed_validate_and_stop_in_a_validation(tmp_path):
    run = tmp_path / "run"
    with Workers(run, before=SLOW_VALIDATION) as workers:
        while "validating" not in workers.printed(1):
            time.sleep(0.02)
        workers.send_signal(1, signal.SIGTERM)
        results = [workers.finished(index) for index in range(2)]
    assert [result.returncode for result in results] == [143, 143], results
    assert last_checkpoint(run) == STEPS
    with Workers(run, before=SLOW_VALIDATION) as workers:
        results = [workers.finished(index) for index in range(2)]
    for result in results:
        assert succeeded(result) == f"{run / 'model.h5'}\n"
    assert [row["epoch"] for row in rows_of(run, "epoch")] == [1, 2]


def last_checkpoint(run):
    epoch, step = list_places(run / "checkpoints")[-1]
    return epoch * STEPS + step


def test_workers_with_different_settings_are_refused(tmp_path):
    run = tmp_path / "run"
    with Workers(run, options=[TWO_EPOCHS, (*TWO_EPOCHS, "--seed", 5, "--early-stop", 3)]) as workers:
        for index in range(2):
            line = failed(workers.finished(index), exit_code=2)
            assert "Worker 1 was started with another seed, early_stop than worker 0" in line
    assert not run.exists()


@pytest.mark.release
def test_a_dry_run_of_two_workers_keeps_nothing(tmp_path):
    run = tmp_path / "run"
    with Workers(run, options=[("--dry-run",)] * 2) as workers:
        for index in range(2):
            assert succeeded(workers.finished(index)) == ""
    assert not run.exists()


def test_two_workers_train_as_one_device_and_stop_together(reference, tmp_path):
    """SIGTERM for one of them, and the same commands again."""
    run = tmp_path / "run"
    with Workers(run) as workers:
        workers.signal_after(1, index=1, number=signal.SIGTERM)
        results = [workers.finished(index) for index in range(2)]
    places = set()
    for result in results:
        assert result.returncode == 143, result.stderr
        places |= {line for line in result.stderr.splitlines() if line.startswith("stopping after ")}
    assert len(places) == 1, places
    step, epoch = (int(word) for word in places.pop().partition(";")[0].split() if word.isdigit())
    assert last_checkpoint(run) == (epoch - 1) * STEPS + step
    assert_equal_first_epochs(run, reference)
    assert "epoch 1/" in results[0].stderr
    assert "epoch 1/" not in results[1].stderr

    with Workers(run) as workers:
        results = [workers.finished(index) for index in range(2)]
    for result in results:
        assert succeeded(result) == f"{run / 'model.h5'}\n"
    assert "resuming after epoch " in results[0].stderr
    assert_finished(run, epochs=2)


@pytest.mark.release
def test_a_run_of_two_workers_survives_the_death_of_either(tmp_path):
    """kill -9 for worker 1 in the first epoch, for worker 0 in the second; each time both are started again."""
    run = tmp_path / "run"
    options = [("--hparams", "epochs=3")] * 2
    for victim in (1, 0):
        with Workers(run, options) as workers:
            workers.signal_after(1 - victim, victim, signal.SIGKILL)
            line = failed(workers.finished(1 - victim, timeout_s=ENDS_WITHIN_S), exit_code=75)
        assert f"Worker {1 - victim} has lost another worker" in line
        assert "Start the same command on every host again" in line
        assert not (run / "model_last.h5").exists()

    with Workers(run, options) as workers:
        results = [workers.finished(index) for index in range(2)]
    for result in results:
        assert succeeded(result) == f"{run / 'model.h5'}\n"
    assert "resuming after epoch " in results[0].stderr
    with Workers(run, options) as workers:
        workers.send_signal(1, signal.SIGKILL)
        result = workers.finished(0)  # waits for nobody
    assert succeeded(result) == f"{run / 'model.h5'}\n"
    assert "is finished" in result.stderr
    assert_finished(run, epochs=3)


def assert_finished(run, epochs):
    """Each epoch and each step once, whatever stopped it."""
    assert (run / "model_last.h5").exists()
    assert [row["epoch"] for row in rows_of(run, "epoch")] == list(range(1, epochs + 1))
    assert [row["step"] for row in rows_of(run, "step")] == list(range(1, epochs * STEPS + 1))
