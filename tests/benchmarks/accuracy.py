"""What each optimizer reaches on real pictures: BinaryNet of a small width on Fashion-MNIST, with seeds.

    python tests/benchmarks/accuracy.py [--rows bop latent] [--seeds 3] [--data-dir DIR] [--runs DIR] [--recorded]

Trains each row with each seed on the 60,000 training pictures, and prints top-1 on the 10,000 test pictures after the
last epoch: mean and 95 % interval (Student's t). Nothing is chosen by the test pictures: settings were found by
`bopkit sweep` on the last tenth of the training pictures. Both columns are of the same run: with batch-norm statistics
estimated anew, which is what a model file has, and with the moving averages of training.

Each finished run is kept in `tests/benchmarks/accuracy/ROW.json` and is not trained again, unless the settings of the
row were changed since. The row `float32` is the same shape with real weights and ReLU, the ceiling, and its command is
to be typed in this folder; rows with a teacher learn from its first seed. Two processes with other `--rows`, each on a
core of its own, are done sooner than one on two.
"""

import argparse
import contextlib
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
from bopkit.figures import COLOURS, GREY, style_axes, write_figure
from bopkit.host import cpu_name, logical_cores
from bopkit.metrics import mean_interval
from bopkit.registry import MODELS
from bopkit.runs.directory import list_places, read_epochs

FOLDER = Path(__file__).absolute().parent
RECORDS = FOLDER / "accuracy"
DATASET, PREPROCESSING, SPLIT = "fashion_mnist", "resize", "test"
NEW_STATISTICS = 1000
CEILING, TEACHER = "float32", "float32_mixup"
OPTIMIZERS = ("latent", "bop", "bop2nd", "cema", "bold")
COLUMNS = {"top1": "statistics anew", "top1_moving_averages": "moving averages"}


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
        if self.settings["optimizer"] == "latent":
            words += ["--batch-norm-pictures", str(NEW_STATISTICS)]
        return shlex.join(words)

    @property
    def settings(self):
        """Values of the set."""
        return self.architecture.hparams(self.hparams_set).model_dump()

    @property
    def architecture(self):
        """The network, of bopkit or of a module in this folder."""
        with contextlib.chdir(FOLDER):
            return MODELS.load(self.model)


ROWS = (
    Row(CEILING, "adam", model="float32_binarynet"),
    *(Row(name, f"{name}_fashion_mnist") for name in OPTIMIZERS),
    Row(TEACHER, "adam", {"mixup": 0.2, "label_smoothing": 0.1}, model="float32_binarynet"),
    *(Row(f"{name}_teacher", f"{name}_fashion_mnist", teacher=TEACHER) for name in OPTIMIZERS),
)


class Records:
    """The finished runs of a row, in a file of the repository.

    Attributes:
        seeds: The figures of a run by its seed.
    """

    def __init__(self, row):
        self._file = RECORDS / f"{row.name}.json"
        self._row = {**dataclasses.asdict(row), "preprocessing": PREPROCESSING, "settings": row.settings}
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


def train(row, seed, data, runs, data_dir):
    """The figures of one run; its teacher is trained first, unless its run is there and finished."""
    teachers = [each for each in ROWS if each.name == row.teacher]
    for teacher in teachers:
        train(teacher, 0, data, runs, data_dir)
    with contextlib.chdir(FOLDER):  # where the network may be a module
        result = train_model(
            row.model,
            DATASET,
            hparams_set=row.hparams_set,
            hparams=row.hparams,
            preprocess_fn=PREPROCESSING,
            data_dir=data_dir,
            output_dir=runs / f"{row.name}-{seed}",
            batch_norm_pictures=NEW_STATISTICS,
            teacher=[runs / f"{teacher.name}-0" for teacher in teachers],
            seed=seed,
            tensorboard=False,
            progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
        )
    architecture = row.architecture
    hparams = architecture.hparams(row.hparams_set).model_copy(update=row.hparams)
    checkpoints = result.output_dir / "checkpoints"
    epochs = read_epochs(result.output_dir)
    as_trained = CheckpointsAsTrained(architecture, hparams, data, SPLIT, PREPROCESSING)
    return {
        "top1": result.metrics["val_top1"],
        "top1_moving_averages": as_trained.top1(checkpoints / str(list_places(checkpoints)[-1])),
        "top1_of_epochs": [epoch["val_top1"] for epoch in epochs],
        "training_top1": result.metrics["top1"],
        "seconds": round(sum(epoch["epoch_seconds"] for epoch in epochs)),
        "precision": json.loads((result.output_dir / "config.json").read_text())["precision"],
        "machine": f"{logical_cores()} cores of {cpu_name()}",
        "date": datetime.date.today().isoformat(),
    }


def train_what_is_missing(rows, seeds, data_dir, folder):
    """Train and keep each run of the rows that has no record."""
    missing = [(row, seed) for row in rows for seed in range(seeds) if seed not in Records(row).seeds]
    if not missing:
        return
    data = open_dataset(DATASET, data_dir, prepare=True)
    with tempfile.TemporaryDirectory() as scratch:
        for row, seed in missing:
            Records(row).add(seed, train(row, seed, data, folder or Path(scratch), data_dir))


def recorded(rows, seeds, column):
    """Figures of a column in percent, by name of the row, of those that have runs."""
    found = {row.name: [run[column] for seed, run in Records(row).seeds.items() if seed < seeds] for row in rows}
    return {name: [100 * value for value in values] for name, values in found.items() if values}


def half_width(values):
    """Of the 95 % interval of their mean; None where one value does not tell it."""
    interval = mean_interval(values)
    return (interval[1] - interval[0]) / 2 if interval else None


def figures_text(values):
    """Their mean, and half the width of its interval where that is known."""
    width = half_width(values)
    return f"{statistics.mean(values):.2f}" + ("" if width is None else f" ± {width:.2f}")


def table(rows, seeds):
    """The rows as Markdown: the figures, then the commands."""
    columns = [recorded(rows, seeds, column) for column in COLUMNS]
    anew = columns[0]
    ceiling = statistics.mean(anew[CEILING]) if CEILING in anew else None
    lines = [f"| row | {' | '.join(COLUMNS.values())} | below {CEILING} | seeds |", "|---|--:|--:|--:|--:|"]
    for name, values in anew.items():
        figures = [figures_text(column[name]) for column in columns]
        below = "" if ceiling is None or name == CEILING else f"{ceiling - statistics.mean(values):.2f}"
        lines.append(f"| {name} | {' | '.join(figures)} | {below} | {len(values)} |")
    commands = [f"# {row.name}\n{row.command}" for row in rows if row.name in anew]
    return "\n".join([*lines, "", "```bash", *commands, "```"])


def draw(rows, seeds, file):
    """Means and intervals of both columns, a line a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + 0.33 * len(rows)), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, "")
    for place, (column, label) in enumerate(COLUMNS.items()):
        of_rows = recorded(rows, seeds, column)
        heights = [index + 0.3 * place for index in range(len(of_rows))]
        means = [statistics.mean(values) for values in of_rows.values()]
        widths = [half_width(values) or 0 for values in of_rows.values()]  # no line where it is not known
        axes.errorbar(means, heights, xerr=widths, fmt="o", markersize=4, color=COLOURS[place], label=label)
    names = [*recorded(rows, seeds, "top1")]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(left=max(0, axes.get_xlim()[0]), right=min(100, axes.get_xlim()[1]))
    axes.set_xlabel("top-1 on the test pictures, %: mean and 95 % interval", fontsize=9)
    axes.legend(fontsize=8, edgecolor=GREY)
    write_figure(figure, [file])


def absolute(path):
    """A path that stays the same in another folder."""
    return Path(path).absolute()


def main():
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], default=[row.name for row in ROWS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-dir", type=absolute)
    parser.add_argument("--runs", type=absolute, help="keep the run directories here; else they are thrown away")
    parser.add_argument("--recorded", action="store_true", help="train nothing: show the runs that are recorded")
    parser.add_argument("--svg", type=Path, help="draw the table into this file")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if row.name in arguments.rows]
    if not arguments.recorded:
        train_what_is_missing(rows, arguments.seeds, arguments.data_dir, arguments.runs)
    print(table(rows, arguments.seeds))
    if arguments.svg:
        draw(rows, arguments.seeds, arguments.svg)


if __name__ == "__main__":
    main()
