"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bopkit.data.catalogue import DATASETS
from bopkit.errors import UsageError
from bopkit.registry import MODELS
from bopkit.seeds import MAX_SEED


def complete_model(incomplete: str) -> list[str]:
    """Names of networks that begin with what was typed."""
    names = [each for name in MODELS.names() for each in (name, *MODELS.aliases(name))]
    return [name for name in names if name.startswith(incomplete)]


def complete_dataset(incomplete: str) -> list[str]:
    """Names of datasets that begin with what was typed."""
    return [name for name in DATASETS if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Name of a network (`bopkit models`), or of a module of yours.",
        autocompletion=complete_model,
        show_default=False,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Name of a dataset (`bopkit data list`); your own: folder:PATH, csv:FILE, npz:FILE, idx:FOLDER, a module.",
        autocompletion=complete_dataset,
    ),
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of prepared datasets; default: TFDS's own.")]
DataCache = Annotated[
    str | None,
    typer.Option("--data-cache", metavar="DIR|memory", help="Cache encoded pictures in this folder, or in memory."),
]
Split = Annotated[str | None, typer.Option("--split", help="Default: the dataset's test split.")]
TrainSplit = Annotated[
    str | None,
    typer.Option(
        "--train-split", metavar="SPLIT", help="Split or slice to train on, as 'train[:80%]'.", show_default="train"
    ),
]
ValidationSplit = Annotated[
    str | None,
    typer.Option(
        "--validation-split",
        metavar="SPLIT",
        help="Split or slice to validate on.",
        show_default="the dataset's test split",
    ),
]
CardPreprocessFn = Annotated[
    str | None,
    typer.Option(
        "--preprocess-fn",
        metavar="NAME[:RANGE]",
        help="Default: that of the model card. For instance imagenet, resize:0..1, resize:0..255, resize:imagenet or "
        "resize:mean=0.5,std=0.25.",
    ),
]
PreprocessFn = Annotated[
    str,
    typer.Option(
        "--preprocess-fn",
        metavar="NAME",
        help="default, or one of `bopkit data list`: crop_and_flip, pad, resize, imagenet, ...",
    ),
]
HparamsSet = Annotated[
    str | None,
    typer.Option(
        "--hparams-set",
        metavar="SET",
        help="Hyper-parameter set (`bopkit hparams MODEL`); default: the network's first.",
    ),
]
Hparams = Annotated[
    list[str] | None, typer.Option("--hparams", metavar="a=1,b=2", help="Values that differ from the set.")
]
Teacher = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        metavar="MODEL",
        help="Learn what this network answers: a run, a .h5 or .keras file, a SavedModel, or pull:NAME; of several, "
        "their mean.",
    ),
]
TeacherPreprocessFn = Annotated[
    str | None,
    typer.Option(
        "--teacher-preprocess-fn",
        metavar="NAME[:RANGE]",
        help="What teachers without a model card want to see, as resize:0..1.",
    ),
]
BatchNormPictures = Annotated[
    int | None,
    typer.Option(
        "--batch-norm-pictures",
        metavar="N",
        min=0,
        help="Estimate batch-norm statistics anew over N training pictures before each validation and in model files; "
        "0 keeps the moving averages. Default: 1000 where weights flip, else 0.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|gpu[:N]|cpu*N", help="Where to compute; cpu*N: N virtual devices.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="float32|bfloat16", help="Default: bfloat16 where the device has instructions for it."
    ),
]
LimitSteps = Annotated[
    int | None, typer.Option("--limit-steps", min=1, help="At most N steps per epoch, and N batches per validation.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of all random numbers.")]
Custom = Annotated[
    list[str] | None,
    typer.Option(
        "--custom",
        metavar="MODULE|FILE.py",
        help="Your own module with code that the file needs: it will run. Repeatable.",
    ),
]
MaxDrop = Annotated[
    float,
    typer.Option(
        "--max-drop",
        metavar="POINTS",
        help="Largest loss of top-1 of a trained network, in points. Each picture with another class counts as lost; "
        "with weights in fewer bits, accuracies on labelled pictures are compared.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="List what is otherwise only counted.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


InputShape = Annotated[
    str | None, typer.Option("--input-shape", metavar="H,W,C", help="Default: the network's own.", show_default=False)
]

PicturesShape = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        metavar="H,W,C",
        help="Of the network; default: as the dataset's pictures suggest.",
        show_default=False,
    ),
]


def parse_memory(text: str | None, option: str) -> int | None:
    """A size of memory in bytes, e.g. `64k` for 65536 or `65536`; None where none is given.

    Raises:
        UsageError: It is no size.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:(k|m)i?b?)?", text.strip(), re.IGNORECASE)
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{option} {text} is not a size of memory.", f"Write for instance {option} 64k.")
    return int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[(found[2] or "").lower()]


def parse_shape(text: str | None) -> tuple[int, int, int] | None:
    """Read `H,W,C`.

    Raises:
        UsageError: It is not three whole numbers.
    """
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    try:
        height, width, channels = (int(part) for part in parts)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a shape.", "Write for instance `--input-shape 32,32,3`.") from error
    return height, width, channels
