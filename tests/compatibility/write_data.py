"""Write what bopkit leaves on disk, for the tests that later versions still open it.

Runs with the version whose data is wanted, in its environment, and takes about three minutes:

    OLD/.venv/bin/python tests/compatibility/write_data.py tests/compatibility/data

What is in the folder afterwards:

    finished/        a finished run, with what `bopkit export` made of it (a flatbuffer and a SavedModel)
    stopped/         a run that SIGTERM stopped in the middle of its second epoch
    grid/            a sweep of three trials: one finished, one stopped in its second epoch, one not begun
    search/          a sweep of two trials that is complete
    results/         results of `bopkit benchmark -o`, and of `bopkit report --json` that merged them
    expected.json    the command lines, and what the same version answered or wrote when it went on
    expected.npz     pictures and the scores of the artifacts; the weights at the end of `stopped`

All is as bopkit wrote it, from a working directory with relative paths, but for the names of this host, its CPU and its
kernel: they are replaced in environment.json, in the results, in the databases and in the names of TensorBoard's files.
"""

import getpass
import json
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from machine_facts import machine_facts  # noqa: E402

PROGRAM = "from bopkit.cli import main; main()"

STEPS, STOPPED_STEP, LAST_STEP = 12, 20, 24
"""Steps an epoch, and counted over both epochs the one that SIGTERM arrives in, and the last."""

OPTIONS = f"--no-tensorboard --precision float32 --device cpu --limit-steps {STEPS} --log-every 3".split()
TRAIN = ["train", "nets_before.small", "--dataset", "digits", "--validationset", *OPTIONS]
FINISHED = [*TRAIN, "--hparams-set", "latent", "--output-dir", "finished"]
STOPPED = [*TRAIN, "--seed", "1", "--output-dir", "stopped"]
SWEEP = f"sweep nets_before.small --dataset digits --precision float32 --device cpu --limit-steps {STEPS}".split()
GRID = [*SWEEP, "--grid", "optimizer=latent|bop2nd|cema", "--hparams", "threshold=1e-4", "--output-dir", "grid"]
SEARCH = [*SWEEP, "--hparams", "epochs=1", "--search", "gamma=log:1e-3..1e-1", "--search", "batch_size=16|32|64"]
SEARCH += ["--output-dir", "search"]

BENCHMARK = ["benchmark", "finished/model.h5", "finished/model.tflite", "finished/model", "--dataset", "digits"]
BENCHMARK += ["--runs", "8", "--warmup-runs", "2", "--min-seconds", "0", "--no-resume"]
REPORT = ["report", "results/today.json", "--baseline", "results/last_week.json"]
RULES = ["latency_ms_p50 > 1e6", "top1 < baseline - 0.005", "size_bytes > 20000"]
"""The last one holds, so that the report ends with 1."""

STOP = f"""
import os, signal
from bopkit.training.step import TrainStep
train_next, steps = TrainStep.train_next, iter(range(1, {LAST_STEP}))
def train_and_stop(self, *arguments):
    if next(steps) == {STOPPED_STEP}:
        os.kill(os.getpid(), signal.SIGTERM)
    return train_next(self, *arguments)
TrainStep.train_next = train_and_stop
{PROGRAM}
"""
"""The program, which gets SIGTERM while it trains a step: it keeps a checkpoint of that step."""

KEEP_WEIGHTS = f"""
import numpy as np
from bopkit.training.step import TrainStep
train_next, steps = TrainStep.train_next, iter(range({STOPPED_STEP + 1}, {LAST_STEP + 1}))
def train_and_keep(self, *arguments):
    if next(steps) == {LAST_STEP}:
        np.savez("before_last_step.npz", **{{each.name: each.numpy() for each in self._network.weights}})
    return train_next(self, *arguments)
TrainStep.train_next = train_and_keep
{PROGRAM}
"""
"""The program, which also keeps the weights before the last step: what one step changes is a measure for tolerances."""

STOP_SWEEP = f"""
from bopkit.sweep import child
talk = child._talk
def talk_until_told(process, on_epoch, progress):
    trials.append(process)
    def say(line):
        progress(line)
        if len(trials) == 2 and line.startswith("epoch 1/"):
            raise KeyboardInterrupt
    return talk(process, on_epoch, say)
trials, child._talk = [], talk_until_told
{PROGRAM}
"""
"""The program, which gets Ctrl-C when its second trial has finished an epoch."""

SCORES = """
import sys
import numpy as np
import bopkit
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset
from bopkit.keras2 import import_tensorflow
import larq_compute_engine as lce

tf = import_tensorflow()
model, card = bopkit.load_model("finished/model.h5"), bopkit.read_card("finished/model.h5")
shift = get_preprocessing(card.preprocessing, card.input_shape)
((pictures, _),) = evaluation_batches(open_dataset("digits"), "test", shift, 16, 16)
pictures = pictures.numpy()
interpreter = lce.testing.Interpreter(open("finished/model.tflite", "rb").read())
(served,) = tf.saved_model.load("finished/model/1").signatures["serving_default"](tf.constant(pictures)).values()
np.savez(
    "scores.npz",
    pictures=pictures,
    keras=model(pictures, training=False),
    tflite=interpreter.predict(pictures),
    saved_model=served,
)
"""

TIMED = ("images_per_second", "epoch_seconds")
"""Figures of rows that a clock decides."""


def run(*arguments, cwd, program=PROGRAM, exit_code=0):
    """What `bopkit ARGUMENTS...` printed; stops this script if it does not end as it should."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "XDG_CACHE_HOME": str(cwd / ".cache"), **os.environ}
    command = [sys.executable, "-c", program, *arguments]
    print("bopkit", *arguments, flush=True)
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if result.returncode != exit_code:
        sys.exit(f"ended with {result.returncode}, not {exit_code}:\n{result.stderr}")
    return result.stdout


def run_json(*arguments, cwd, exit_code=0):
    """The JSON that `bopkit ARGUMENTS... --json` printed."""
    return json.loads(run(*arguments, "--json", cwd=cwd, exit_code=exit_code))


def rows_of(folder):
    """The rows of a run, without what a clock decided."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


def weights_of(folder):
    """Arrays of the networks that a run left, by name; read as Keras stores them, without bopkit."""
    import h5py

    found = {}
    for name in ("model", "model_last"):
        with h5py.File(folder / f"{name}.h5") as file:
            weights = file["model_weights"]
            for layer in weights.attrs["layer_names"]:
                for weight in weights[layer].attrs["weight_names"]:
                    found[f"{name}/{weight}"] = weights[layer][weight][()]
    return found


def write_runs(work):
    """A finished and a stopped run, and what the finished one answers."""
    run(*FINISHED, cwd=work)
    run("export", "finished", cwd=work)
    run(*STOPPED, cwd=work, program=STOP, exit_code=143)
    return {
        "finished": {
            "train": {"command": FINISHED, "answer": run_json(*FINISHED, cwd=work)},
            "evaluate": run_json("evaluate", "finished", cwd=work),
            "inspect": {
                path: run_json("inspect", path, cwd=work)
                for path in ("finished/model.h5", "finished/model.tflite", "finished/model")
            },
        },
    }


def go_on_with_run(work, copy):
    """What the stopped run came to, as arrays and as plain values."""
    shutil.copytree(work / "stopped", copy / "stopped")
    answer = json.loads(run(*STOPPED, "--json", cwd=copy, program=KEEP_WEIGHTS))
    arrays = {f"end/{name}": value for name, value in weights_of(copy / "stopped").items()}
    with np.load(copy / "before_last_step.npz") as kept:
        arrays |= {f"before_last_step/{name}": kept[name] for name in kept.files}
    plain = {"command": STOPPED, "stopped_step": STOPPED_STEP, "rows": rows_of(copy / "stopped"), "answer": answer}
    return plain, arrays


def write_sweeps(work):
    """A sweep that was stopped and one that is complete; the answer of the latter."""
    run(*GRID, cwd=work, program=STOP_SWEEP, exit_code=130)
    command = [*SEARCH, "--trials", "2"]
    run(*command, cwd=work)
    return {"command": command, "answer": run_json(*command, cwd=work)}


def go_on_with_sweeps(work, copy):
    """What the stopped sweep came to, and the complete one when it was asked for one more trial."""
    ends = {}
    for name, command in (("grid", GRID), ("search", [*SEARCH, "--trials", "3"])):
        shutil.copytree(work / name, copy / name)
        answer = run_json(*command, cwd=copy)
        rows = {folder.name: rows_of(folder) for folder in sorted((copy / name).glob("trial-*"))}
        ends[name] = {"command": command, "answer": answer, "rows": rows}
    return ends


def write_results(work):
    """Two results of the same artifacts, and a merged one; what `bopkit report` makes of them."""
    (work / "results").mkdir()
    run(*BENCHMARK, "-o", "results/last_week.json", cwd=work)
    run(*BENCHMARK, "--profile", "-o", "results/today.json", cwd=work)
    for name in ("last_week", "today"):
        path = work / "results" / f"{name}.json"
        result = json.loads(path.read_text())
        result["environments"]["local"] |= {"cpu": "Example CPU", "os": "Linux-6.1-x86_64-with-glibc2.36"}
        path.write_text(json.dumps(result, indent=2) + "\n")
    both = ["results/today.json", "results/last_week.json"]
    (work / "results" / "merged.json").write_text(run("report", *both, "--json", cwd=work))
    rules = [word for rule in RULES for word in ("--fail-if", rule)]
    return {
        "command": [*REPORT, *rules],
        "answer": run_json(*REPORT, *rules, cwd=work, exit_code=1),
        "csv": run(*REPORT, "--csv", "-", cwd=work),
    }


def scrub(work):
    """Replace the names of this host, its CPU and its kernel, which say nothing about the format."""
    for path in work.rglob("environment.json"):
        environment = json.loads(path.read_text())
        environment["platform"] = "Linux-6.1-x86_64-with-glibc2.36"
        path.write_text(json.dumps(environment, indent=2) + "\n")
    for path in work.rglob("events.out.tfevents.*"):
        path.rename(path.with_name(path.name.replace(f".{socket.gethostname()}.", ".example.")))
    for path in work.glob("*/sweep.db"):
        with sqlite3.connect(path) as database:
            owner = json.dumps({"host": "example 123456789abc", "pid": 4321, "created": 1700000000.0})
            for name, value in (("host", '"example"'), ("owner", owner)):
                database.execute("UPDATE trial_user_attributes SET value_json = ? WHERE key = ?", (value, name))
        database.execute("VACUUM")  # what was replaced would stay in pages that are free now
        database.close()


def with_example_host(answer):
    """A sweep's answer with the name that the databases have."""
    return {**answer, "trials": [{**row, "host": row["host"] and "example"} for row in answer["trials"]]}


def check(folder, work):
    """Stop this script if a file tells of this machine."""
    host = socket.gethostname()  # may be two letters, that anything holds
    words = {str(work), str(HERE), str(Path.home()), tempfile.gettempdir(), platform.release(), sys.prefix}
    words |= {f"{getpass.getuser()}@", f"{os.sep}home{os.sep}", f'"{host}"', f'"{host} ', f".{host}."}
    found = [
        f"{path.relative_to(folder)} holds {word!r}"
        for path in folder.rglob("*")
        if path.is_file()
        for word in words
        if word.encode() in str(path.relative_to(folder)).encode() + path.read_bytes()
    ]
    if found:
        sys.exit("\n".join(found))


def main(folder):
    """Write all of it into `folder`, which must not be there yet."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        work, copy = Path(scratch, "work"), Path(scratch, "copy")
        for each in (work, copy):
            shutil.copytree(HERE / "nets_before", each / "nets_before")
        expected = {"machine": machine_facts(), **write_runs(work)}
        expected["complete"] = write_sweeps(work)
        expected["runs"] = run_json("runs", ".", cwd=work)
        expected["report"] = write_results(work)
        scrub(work)
        expected["stopped"], arrays = go_on_with_run(work, copy)
        expected["sweeps"] = go_on_with_sweeps(work, copy)
        for sweep in (expected["complete"], *expected["sweeps"].values()):
            sweep["answer"] = with_example_host(sweep["answer"])
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-c", SCORES], cwd=work, env=quiet, check=True)
        with np.load(work / "scores.npz") as scores:
            arrays |= {f"scores/{name}": scores[name] for name in scores.files}
        for name in ("finished", "stopped", "grid", "search", "results"):
            shutil.copytree(work / name, folder / name)
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in expected.items())
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        for each in (work, copy):
            text = text.replace(str(each), "WORK")
        (folder / "expected.json").write_text(text)
        np.savez_compressed(folder / "expected.npz", **arrays)
        check(folder, work)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
