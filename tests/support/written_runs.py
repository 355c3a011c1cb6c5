"""Run directories as a training leaves them, written by hand."""

import json

STEPS_PER_EPOCH = 40


def write_run(path, epochs=3, done=None, seed=0, every=10, **hparams):
    """Write a stopped run of `done` epochs that logs every `every` steps; returns its path.

    Epoch e has validation top-1 0.5 + e / 100 and training top-1 0.6 + e / 100; at step s the layers `conv` and
    `dense` have pi_t -2 - s / 100 and -4 - s / 100.
    """
    path.mkdir(parents=True)
    config = {
        "model": "binarynet",
        "dataset": "digits",
        "preprocessing": "shift",
        "hparams_set": "bop",
        "hparams": {
            "optimizer": "bop",
            "epochs": epochs,
            "batch_size": 32,
            "threshold": 1e-6,
            "gamma": 1e-3,
            **hparams,
        },
        "precision": "float32",
        "steps_per_epoch": STEPS_PER_EPOCH,
        "seed": seed,
    }
    (path / "config.json").write_text(json.dumps(config))
    for epoch in range(1, (epochs if done is None else done) + 1):
        for step in range(1, STEPS_PER_EPOCH + 1):
            if (total := (epoch - 1) * STEPS_PER_EPOCH + step) % every == 0:
                append(path, step_row(total, epoch))
        append(path, epoch_row(epoch))
    return path


def step_row(step, epoch):
    layers = {
        name: {"flips": 3, "flip_ratio": 1e-3, "pi_t": first - step / 100}
        for name, first in (("conv", -2), ("dense", -4))
    }
    figures = {"loss": 2.0, "top1": 0.3, "images_per_second": 90.0}
    return {"kind": "step", "step": step, "epoch": epoch, **figures, "layers": layers}


def epoch_row(epoch, **figures):
    standard = {"loss": 1 / epoch, "top1": 0.6 + epoch / 100, "val_top1": 0.5 + epoch / 100, "images_per_second": 100.0}
    return {"kind": "epoch", "step": epoch * STEPS_PER_EPOCH, "epoch": epoch, **standard, **figures}


def append(path, row):
    """Add a row to a run's metrics."""
    with open(path / "metrics.jsonl", "a") as out:
        out.write(json.dumps(row) + "\n")
