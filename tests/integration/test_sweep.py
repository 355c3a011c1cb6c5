"""`bopkit sweep` with real training: kill -9 and Ctrl-C in the middle, and the figure of the preset."""

import json
import os
import signal
import time

import pytest
from command_line import PROGRAM, SUPPORT, failed, forked, start_bopkit, succeeded
from forks import ForkedPython

pytestmark = pytest.mark.integration

EPOCHS = 3

SWEEP = [
    *f"sweep tiny.network --dataset digits --hparams epochs={EPOCHS},filters=4 --limit-steps 4".split(),
    *["--grid", "gamma=1e-2|1e-3", "--device", "cpu", "--output-dir"],
]


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def epochs(run):
    return [row["epoch"] for row in rows(run) if row["kind"] == "epoch"]


HELD = f"""
import time
from bopkit.sweep import child
call, trials = child.Child.call, []
def call_until_told(process, *arguments, progress, **options):
    def say(line):
        progress(line)
        if len(trials) == 2 and line.startswith("epoch 1/"):
            time.sleep(60)
    trials.append(process)
    return call(process, *arguments, progress=say, **options)
child.Child.call = call_until_told
{PROGRAM}
"""
"""The program, which answers trial 1 in its first epoch only: the signal arrives before the trial ends."""


def stop_in_second_epoch(folder, stop):
    """Start the sweep and end it when trial 1 has finished an epoch; its exit code and last lines."""
    process = start_bopkit(*SWEEP, folder, program=HELD, start=ForkedPython, cwd=SUPPORT)
    for line in process.stderr:
        if line.startswith(f"trial 1: epoch 1/{EPOCHS}"):
            break
    process.send_signal(stop)
    _, rest = process.communicate(timeout=120)
    return process.returncode, rest


def wait_for_the_end_of_children(folder):
    """The killed sweep's child ends by itself: nobody else finishes the run."""
    before = None
    for _ in range(20):
        now = (folder / "trial-0001" / "metrics.jsonl").read_bytes()
        if now == before:
            return
        before = now
        time.sleep(0.5)


@pytest.mark.parametrize("stop", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.release)])
def test_a_stopped_sweep_goes_on(tmp_path, stop):
    code, rest = stop_in_second_epoch(tmp_path, stop)
    if stop == signal.SIGKILL:
        assert code == -stop
        wait_for_the_end_of_children(tmp_path)
    else:
        assert code == 130
        assert "stopped: 1 of 2 trials are done; the same command resumes" in rest
    assert not (tmp_path / "trial-0001" / "model_last.h5").exists()
    resumed = forked(*SWEEP, tmp_path, "--json", cwd=SUPPORT)
    result = json.loads(succeeded(resumed))
    assert [(row["trial"], row["state"], row["epochs"]) for row in result["trials"]] == [
        (0, "finished", EPOCHS),
        (1, "finished", EPOCHS),
    ]
    assert [epochs(tmp_path / f"trial-000{n}") for n in (0, 1)] == [list(range(1, EPOCHS + 1))] * 2
    assert "trial 1: resuming after" in resumed.stderr
    assert "trial 0:" not in resumed.stderr
    assert all(os.path.isfile(os.path.join(row["run_dir"], "model.h5")) for row in result["trials"])
    for row in result["trials"]:
        run = tmp_path / f"trial-000{row['trial']}"
        assert row["val_top1"] == max(each["val_top1"] for each in rows(run) if each["kind"] == "epoch")
    assert result["trials"][result["best"]]["val_top1"] == max(row["val_top1"] for row in result["trials"])


@pytest.mark.release
def test_the_preset_draws_its_figure(tmp_path):
    """Five runs of one epoch; the picture is the plot's own test."""
    hparams = "epochs=1,filters=4,dense_units=16"
    result = forked(
        *f"sweep --preset paper-5.1 --dataset digits --limit-steps 3 --device cpu --hparams {hparams}".split(),
        *["--output-dir", tmp_path],
    )
    table = succeeded(result)
    assert table.count("finished") == 5
    assert (tmp_path / "figure1.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure1.svg").stat().st_size > 1000
    assert result.stderr.splitlines()[-1].startswith("Next: bopkit train binarynet --dataset digits --hparams-set bop")


def test_trials_that_cannot_be_trained(tmp_path):
    """A learning rate that ends in a loss that is no number is recorded; a dataset that is none stops the sweep."""
    line = failed(forked(*"sweep binarynet --dataset no_such --grid gamma=0.1 --output-dir".split(), tmp_path / "a"), 2)
    assert "no_such" in line
    arguments = [*SWEEP[:-5], "--grid", "learning_rate=1e38|1e-3", "--output-dir", tmp_path / "b", "--json"]
    result = json.loads(succeeded(forked(*arguments, cwd=SUPPORT)))
    assert [row["state"] for row in result["trials"]] == ["failed", "finished"]
    assert "loss is" in result["trials"][0]["error"]
