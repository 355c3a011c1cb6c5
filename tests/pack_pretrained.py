"""Put the network of a finished run among those that come with bopkit, for `bopkit pull`.

    python tests/pack_pretrained.py RUN NAME --data-dir FOLDER

The flatbuffer is exported with all test pictures of the run's dataset as checks. The network is rebuilt from what was
packed and compared with the run's bit by bit, and the command that is written down is one that gives the run's config.
Nothing is written before. The same run gives the same bytes. After that, run the tests in tests/core/pretrained.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import open_model, read_card, read_config, save_model
from bopkit.data import open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.export import ExportOptions, export_model
from bopkit.pretrained import shipped as shipped_files
from bopkit.pretrained.facts import Part, PretrainedFacts
from bopkit.pretrained.packed_weights import pack
from bopkit.pretrained.pull import MODEL_FILE
from bopkit.pretrained.rebuild import rebuild
from bopkit.pretrained.shipped import CARD, CONFIG, FLATBUFFER, FLOATS, KERNELS, ROOT, ShippedModel, about_text
from bopkit.registry import MODELS
from bopkit.runs.directory import CONFIG_FILE, is_finished, read_epochs, with_defaults
from bopkit.runs.directory import read_config as read_run_config
from bopkit.sweep.command import train_command
from bopkit.training.options import TrainOptions
from bopkit.training.plan import plan_run

LARGEST_PART_BYTES = 300_000
PUBLISHER = "the authors of bopkit"
LICENCE = "Apache-2.0"


def pack_run(run: Path, name: str, data_dir: str | None, teachers: list[str], root: Path) -> PretrainedFacts:
    """Write the folder `root / name` anew.

    Args:
        run: A finished run whose dataset is prepared.
        name: What users will type.
        data_dir: Where it is prepared.
        teachers: What stood behind each --teacher of the run.
        root: Folder of the networks' folders.

    Raises:
        BopkitError: The run is not finished, its export fails, or what was packed is not what was trained.
    """
    if not is_finished(run):
        raise UsageError(f"{run} is not a finished run.", "Type the folder of one.")
    if re.fullmatch(r"[a-z]\w*", name, re.ASCII) is None:
        raise UsageError(f"{name!r} cannot be a name.", "Use small letters, digits and underscores.")
    model_file = run / MODEL_FILE
    card = read_card(model_file)
    if card is None:
        raise BopkitError(f"{model_file} has no model card.", "Type the folder of a run of bopkit.")
    config = read_run_config(run)
    command = train_command(options_of(config, card, data_dir, teachers))
    dataset = open_dataset(card.dataset, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        options = ExportOptions(
            savedmodel=False, dataset=card.dataset, data_dir=data_dir, pictures=dataset.count(dataset.test_split)
        )
        report = export_model(model_file, folder, options, progress=lambda line: print(line, file=sys.stderr))
        (artifact,) = report.artifacts
        flatbuffer = Path(artifact.path).read_bytes()
    if artifact.accuracy is None or artifact.accuracy.pictures != dataset.count(dataset.test_split):
        raise BopkitError("The accuracy on all test pictures was not measured.", "Look at what the export printed.")
    network = open_model(model_file).model
    weights, kernels, floats = pack([(weight.name, weight.numpy()) for weight in network.weights])
    parts = {
        CARD: (json.dumps(json.loads(card.to_json()), indent=1) + "\n").encode(),
        CONFIG: (run / CONFIG_FILE).read_bytes(),
        KERNELS: kernels,
        FLOATS: floats,
        FLATBUFFER: flatbuffer,
    }
    facts = PretrainedFacts(
        name=name,
        architecture=card.architecture,
        dataset=card.dataset,
        publisher=PUBLISHER,
        licence=LICENCE,
        command=command,
        seed=config["seed"],
        epoch_row=epoch_row(run, card),
        split=dataset.test_split,
        pictures=artifact.accuracy.pictures,
        top1=artifact.accuracy.before,
        flatbuffer_top1=artifact.accuracy.after,
        weights=weights,
        parts={part: Part(len(data), hashlib.sha256(data).hexdigest()) for part, data in parts.items()},
    )
    contents = {shipped_files.ABOUT: about_text(facts), **parts}
    refuse_what_must_not_ship(contents)
    with tempfile.TemporaryDirectory(dir=root, prefix=".") as scratch:
        folder = Path(scratch, name)
        folder.mkdir()
        for file, data in contents.items():
            (folder / file).write_bytes(data)
        compare_with_run(ShippedModel(facts, card, parts), model_file)
        shutil.rmtree(root / name, ignore_errors=True)
        folder.rename(root / name)
    return facts


def options_of(config: dict, card: ModelCard, data_dir: str | None, teachers: list[str]) -> TrainOptions:
    """The options that give a run's config.

    Raises:
        BopkitError: They give another one: no single command repeats the run.
    """
    defaults = MODELS.load(config["model"]).hparams(config["hparams_set"]).model_dump()
    hparams = {key: value for key, value in config["hparams"].items() if value != defaults[key]}
    names = {field.name for field in dataclasses.fields(TrainOptions)} - {"hparams", "dataset"}
    values = {key: value for key, value in config.items() if key in names}
    data = open_dataset(card.dataset, data_dir)
    values["preprocess_fn"] = config["preprocessing"]
    for option, usual in (("train_split", "train"), ("validation_split", data.test_split)):
        values[option] = None if config[option] == usual else config[option]
    if (config["train_split"], config["validation_split"]) == ("train[:90%]", "train[90%:]"):
        values |= {"train_split": None, "validation_split": None, "validationset": True}
    options = TrainOptions(dataset=card.dataset, hparams=hparams, teacher=teachers or None, **values)
    plan = plan_run(dataclasses.replace(options, data_dir=data_dir), lambda line: None)
    planned, usual = json.loads(json.dumps([plan.config(), plan.default_config()]))
    config = with_defaults(config, usual)  # a run of an earlier version lacks settings that came later
    if planned != config:
        different = sorted(key for key in {*planned, *config} if planned.get(key) != config.get(key))
        what = ", ".join(f"{key} is {config.get(key)!r}, not {planned.get(key)!r}" for key in different)
        raise BopkitError(f"`{train_command(options)}` does not give this run: {what}.", "Train it by one command.")
    return options


def epoch_row(run: Path, card: ModelCard) -> dict:
    """The run's row of the epoch whose figures the card has."""
    rows = [row for row in read_epochs(run) if card.accuracy.items() <= row.items()]
    if not rows or not card.accuracy:
        raise BopkitError(f"No epoch of {run} has the figures of the card.", "Pack the model file of a run.")
    return rows[0]


def refuse_what_must_not_ship(contents: dict[str, bytes]) -> None:
    """Refuse parts that are too large, or that name a place or a host of this machine."""
    for file, data in contents.items():
        if len(data) > LARGEST_PART_BYTES:
            raise BopkitError(f"{file} takes {len(data):,} bytes.", f"{LARGEST_PART_BYTES:,} are allowed.")
        text = data.decode("latin-1")
        paths = re.findall(r'[" ]([/~][^" ]*)', text) if file.endswith(".json") else []
        paths += [each for each in (os.getcwd(), str(Path.home()) + "/", os.uname().nodename + ".") if each in text]
        if paths:
            raise BopkitError(f"{file} names a place on this machine: {paths[0]}.", "Train with relative paths.")


def compare_with_run(shipped: ShippedModel, model_file: Path) -> None:
    """Make sure that what was packed, built and written, is that of the run: layers, and each bit of each weight."""
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = Path(folder, MODEL_FILE)
        save_model(rebuild(shipped), shipped.card, rebuilt)
        ours, theirs = open_model(rebuilt), open_model(model_file)
        same_weights = [
            (a.name, a.numpy().tobytes()) == (b.name, b.numpy().tobytes())
            for a, b in zip(ours.model.weights, theirs.model.weights, strict=True)
        ]
        same_layers = without_counters(read_config(rebuilt)) == without_counters(read_config(model_file))
    if not (all(same_weights) and same_layers and ours.card == theirs.card):
        raise BopkitError(f"What was packed is not the network in {model_file}.", "Nothing was written.")


def without_counters(config: dict) -> str:
    """A network's config without the numbers by which Keras tells the quantizers of a session apart."""
    return re.sub(r'(_sign|no_op)_\d+"', r'\1"', json.dumps(config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data-dir")
    parser.add_argument("--to", type=Path, default=ROOT, help="the folder of networks' folders; default: bopkit's own")
    parser.add_argument("--teacher", action="append", default=[], help="as it was typed for the run")
    arguments = parser.parse_args()
    try:
        facts = pack_run(arguments.run, arguments.name, arguments.data_dir, arguments.teacher, arguments.to)
    except BopkitError as error:
        sys.exit(f"Error: {error.message} {error.hint}")
    print(f"{facts.top1:.2%} by Keras, {facts.flatbuffer_top1:.2%} by the flatbuffer, on {facts.pictures} pictures")
    for part, each in facts.parts.items():
        print(f"{arguments.to / facts.name / part}: {each.size_bytes:,} bytes")
    print(facts.command)


if __name__ == "__main__":
    main()
