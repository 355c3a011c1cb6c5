"""What each optimizer reaches on real pictures: BinaryNet of a small width on Fashion-MNIST, with seeds.

    python tests/benchmarks/accuracy.py [--rows bop latent] [--seeds 3] [--data-dir DIR] [--runs DIR]

Trains each row with each seed on the 60,000 training pictures, and prints top-1 on the 10,000 test pictures after the
last epoch: mean and 95 % interval (Student's t). Nothing is chosen by the test pictures: settings were found by
`bopkit sweep` on the last tenth of the training pictures. Both columns are of the same run: with batch-norm statistics
estimated anew, which is what a model file has, and with the moving averages of training.

Each finished run is kept in `tests/benchmarks/accuracy/ROW.json` and is not trained again, unless the settings of the
row were changed since. The row `float32` is the same shape with real weights and ReLU, the ceiling; rows with a teacher
learn from its first seed.
"""

import argparse
import dataclasses
import datetime
import json
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

from checkpoints_as_trained import CheckpointsAsTrained

from bopkit import files, train_model
from bopkit.data import open_dataset
from bopkit.host import cpu_name, logical_cores
from bopkit.metrics import mean_interval
from bopkit.registry import MODELS
from bopkit.runs.directory import list_places, read_metrics

FOLDER = Path(__file__).parent
RECORDS = FOLDER / "accuracy"
DATASET, PREPROCESSING, SPLIT = "fashion_mnist", "resize_and_flip", "test"
NEW_STATISTICS = 1000


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: As users type it in `--rows`.
        hparams_set: The set of the network.
        hparams: What differs from it.
        model: The network.
        teacher: The row whose network of seed 0 it learns from; empty for none.
    """

    name: str
    hparams_set: str
    hparams: dict = dataclasses.field(default_factory=dict)
    model: str = "binarynet"
    teacher: str = ""

    @property
    def command(self):
        """What to type to train it."""
        words = ["bopkit", "train", self.model, "--dataset", DATASET, "--preprocess-fn", PREPROCESSING]
        words += ["--hparams-set", self.hparams_set]
        if self.hparams:
            words += ["--hparams", ",".join(f"{name}={value}" for name, value in self.hparams.items())]
        if self.teacher:
            words += ["--teacher", f"runs/{self.teacher}-0"]
        return shlex.join(words)


ROWS = (
    Row("float32", "adam", model="float32_binarynet"),
    Row("latent", "latent_fashion_mnist"),
    Row("bop", "bop_fashion_mnist"),
    Row("cema", "cema_fashion_mnist"),
    Row("bold", "bold_fashion_mnist"),
)


class Records:
    """The finished runs of a row, in a file of the repository."""

    def __init__(self, row):
        self._file = RECORDS / f"{row.name}.json"
        self._row = {
            **dataclasses.asdict(row),
            "settings": MODELS.load(row.model).hparams(row.hparams_set).model_dump(),
        }
        self.seeds = {}
        if self._file.exists():
            recorded = json.loads(self._file.read_text())
            if recorded["row"] == self._row:
                self.seeds = {int(seed): run for seed, run in recorded["seeds"].items()}

    def add(self, seed, run):
        """Keep the figures of a run."""
        self.seeds[seed] = run
        files.write_json(
            self._file, {"row": self._row, "seeds": {str(each): self.seeds[each] for each in sorted(self.seeds)}}
        )


def train(row, seed, data, arguments, runs):
    """The figures of one run; its teacher is trained first, unless its run is there and finished."""
    teachers = [each for each in ROWS if each.name == row.teacher]
    for teacher in teachers:
        train(teacher, 0, data, arguments, runs)
    result = train_model(
        row.model,
        DATASET,
        hparams_set=row.hparams_set,
        hparams=row.hparams,
        preprocess_fn=PREPROCESSING,
        data_dir=arguments.data_dir,
        output_dir=runs / f"{row.name}-{seed}",
        batch_norm_pictures=NEW_STATISTICS,
        teacher=[runs / f"{teacher.name}-0" for teacher in teachers],
        seed=seed,
        tensorboard=False,
        progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    architecture = MODELS.load(row.model)
    hparams = architecture.hparams(row.hparams_set).model_copy(update=row.hparams)
    checkpoints = result.output_dir / "checkpoints"
    rows = read_metrics(result.output_dir)
    as_trained = CheckpointsAsTrained(architecture, hparams, data, SPLIT, PREPROCESSING)
    return {
        "top1": result.metrics["val_top1"],
        "top1_moving_averages": as_trained.top1(checkpoints / str(list_places(checkpoints)[-1])),
        "training_top1": result.metrics["top1"],
        "seconds": round(sum(epoch["epoch_seconds"] for epoch in rows if epoch["kind"] == "epoch")),
        "precision": json.loads((result.output_dir / "config.json").read_text())["precision"],
        "machine": f"{logical_cores()} cores of {cpu_name()}",
        "date": datetime.date.today().isoformat(),
    }


def figures_text(values):
    """Mean and interval in percent."""
    percents = [100 * value for value in values]
    interval = mean_interval(percents)
    width = f" ± {(interval[1] - interval[0]) / 2:.2f}" if interval else ""
    return f"{statistics.mean(percents):.2f}{width}"


def main():
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], default=[row.name for row in ROWS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-dir")
    parser.add_argument("--runs", type=Path, help="keep the run directories here; else they are thrown away")
    arguments = parser.parse_args()
    sys.path.append(str(FOLDER))  # for float32_binarynet
    data = open_dataset(DATASET, arguments.data_dir, prepare=True)
    with tempfile.TemporaryDirectory() as scratch:
        runs = arguments.runs or Path(scratch)
        lines = []
        for row in (each for each in ROWS if each.name in arguments.rows):
            records = Records(row)
            for seed in range(arguments.seeds):
                if seed not in records.seeds:
                    records.add(seed, train(row, seed, data, arguments, runs))
            done = [records.seeds[seed] for seed in range(arguments.seeds)]
            anew, as_trained = (figures_text([run[name] for run in done]) for name in ("top1", "top1_moving_averages"))
            lines.append(f"| {row.name} | {anew} | {as_trained} | {len(done)} | `{row.command}` |")
    print("| row | statistics anew | moving averages | seeds | command |\n|---|--:|--:|--:|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
