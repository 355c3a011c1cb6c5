"""What a start from a trained network is worth: two halves of Fashion-MNIST's classes, few pictures a class.

    python tests/benchmarks/transfer.py [--pictures 10] [--seeds 5] [--data-dir DIR] [--runs DIR] [--recorded]

BinaryNet of `filters=32,dense_units=256` learns the classes 0 to 4 from all their training pictures, once. Then it
learns the classes 5 to 9 from a few pictures a class, drawn by the seed: as a new network, from the first one, and from
the first one with its convolutions frozen. Prints top-1 on all test pictures of the classes 5 to 9: mean and 95 %
interval (Student's t). Finished runs are kept in `tests/benchmarks/accuracy/transfer.json`, and not trained again.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from bopkit import files, load_model, train_model
from bopkit.data import dataset_from_arrays, evaluation_batches, open_dataset
from bopkit.metrics import mean_interval
from bopkit.runs.directory import LAST_MODEL_FILE

RECORDS = Path(__file__).absolute().parent / "accuracy" / "transfer.json"
SET = "bop_fashion_mnist"
FIRST, SECOND = range(5), range(5, 10)
OF_FIRST = {"epochs": 10}
OF_SECOND = {"epochs": 60, "batch_size": 25}
PREPROCESSING = "shift"
BATCH_SIZE = 500
WAYS = {
    "a new network": {},
    "from the first": {"from_model": "first"},
    "from the first, convolutions frozen": {"from_model": "first", "freeze": ["conv*"]},
}


def arrays(data, split):
    """Pictures and labels of a split."""
    pictures, labels = zip(*data.read(split).map(lambda image, label: (_decoded(image), label)), strict=True)
    return np.stack(pictures), np.array(labels)


def _decoded(image):
    from bopkit.data.decoding import decode

    pixels = decode(image, 1)
    pixels.set_shape([28, 28, 1])
    return pixels


def half(train, test, classes, names, pictures=None, seed=0):
    """A dataset of some classes; with a number of pictures, so many of each."""
    places = [np.flatnonzero(train[1] == label) for label in classes]
    if pictures is not None:
        generator = np.random.default_rng(seed)
        places = [np.sort(generator.choice(each, pictures, replace=False)) for each in places]
    chosen = np.concatenate(places)
    of_test = np.isin(test[1], list(classes))
    return dataset_from_arrays(
        train[0][chosen],
        train[1][chosen] - classes[0],
        test[0][of_test],
        test[1][of_test] - classes[0],
        class_names=[names[label] for label in classes],
        name=f"fashion_mnist_{classes[0]}_to_{classes[-1]}",
    )


def train(data, hparams, output_dir, **options):
    """Top-1 of a run on all test pictures, after its last epoch: most of its time would be their validation."""
    result = train_model(
        "binarynet",
        data,
        hparams_set=SET,
        hparams=hparams,
        preprocess_fn=PREPROCESSING,
        output_dir=output_dir,
        validation_split="test[:2%]",
        tensorboard=False,
        **options,
    )
    batches = evaluation_batches(data, "test", data.preprocessing(PREPROCESSING), BATCH_SIZE)
    network = load_model(result.output_dir / LAST_MODEL_FILE)
    right = [network(inputs, training=False).numpy().argmax(1) == labels.numpy() for inputs, labels in batches]
    return float(np.concatenate(right).mean())


def train_what_is_missing(recorded, counts, seeds, data_dir, runs):
    """Train and keep each run that has no record."""
    missing = [
        (count, way, seed)
        for count in counts
        for way in WAYS
        for seed in range(seeds)
        if str(seed) not in recorded.get(f"{count} {way}", {})
    ]
    if not missing:
        return
    data = open_dataset("fashion_mnist", data_dir, prepare=True)
    whole = [arrays(data, split) for split in ("train", "test")]
    train(half(*whole, FIRST, data.class_names), OF_FIRST, runs / "first", seed=0)
    for count, way, seed in missing:
        options = dict(WAYS[way])
        if "from_model" in options:
            options["from_model"] = runs / options["from_model"]
        few = half(*whole, SECOND, data.class_names, count, seed)
        top1 = train(few, OF_SECOND, runs / f"{count}-{list(WAYS).index(way)}-{seed}", seed=seed, **options)
        recorded.setdefault(f"{count} {way}", {})[str(seed)] = top1
        files.write_json(RECORDS, recorded)
        print(f"  {count} pictures a class, {way}, seed {seed}: {top1:.2%}", file=sys.stderr, flush=True)


def table(recorded, counts, seeds):
    """The figures as Markdown."""
    lines = [f"| BinaryNet on 5 classes | {' | '.join(f'{count} pictures a class' for count in counts)} |"]
    lines.append("|---|" + "--:|" * len(counts))
    for way in WAYS:
        cells = []
        for count in counts:
            runs = recorded.get(f"{count} {way}", {})
            values = [100 * top1 for seed, top1 in runs.items() if int(seed) < seeds]
            interval = mean_interval(values)
            width = f" ± {(interval[1] - interval[0]) / 2:.2f}" if interval else ""
            cells.append(f"{statistics.mean(values):.2f}{width}" if values else "-")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[10])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--runs", type=Path, help="keep the run directories here; else they are thrown away")
    parser.add_argument("--recorded", action="store_true", help="train nothing: show the runs that are recorded")
    arguments = parser.parse_args()
    recorded = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    if not arguments.recorded:
        with tempfile.TemporaryDirectory() as scratch:
            runs = arguments.runs or Path(scratch)
            train_what_is_missing(recorded, arguments.pictures, arguments.seeds, arguments.data_dir, runs)
    print(table(recorded, arguments.pictures, arguments.seeds))


if __name__ == "__main__":
    main()
