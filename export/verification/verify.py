"""`verify_artifacts`: whether two artifacts are the same network: structure, then bits, then scores.

Each artifact is read and run in a process of its own (`bopkit.export.verification.worker`), so that a damaged one
is one line. What differs because the cards name two preprocessings is told apart from what differs in the networks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts import artifact
from bopkit.data import open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.export import checks
from bopkit.export.inspection.contents import BinaryKernel, KernelMatch, match_kernels
from bopkit.export.inspection.report import UNCHECKED
from bopkit.export.network.signature import Port, Ports, partners, ports_text
from bopkit.export.pictures import Pictures
from bopkit.export.report import Agreement
from bopkit.export.verification.worker import GIVEN, KERNELS, NOISE, OWN, load_arrays, load_kernels
from bopkit.isolation import Child
from bopkit.progress import Progress, silent

TIMEOUT_S = 3600.0
"""For one artifact on all pictures."""


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two artifacts.

    Attributes:
        path: Where it lies; of a SavedModel the version directory.
        kind: `keras`, `savedmodel` or `tflite`.
        runtime: What ran it.
        inputs: What it takes.
        outputs: What it answers.
        preprocessing: Name in its card; empty without one, so that the dataset's default is used.
        untrained: Whether its card says so.
        has_checksum: Whether it carries a checksum; a wrong one is a failure.
        pictures: What it was shown.
    """

    path: str
    kind: str
    runtime: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    preprocessing: str
    untrained: bool
    has_checksum: bool
    pictures: str

    @property
    def ports(self) -> Ports:
        """Inputs and outputs."""
        return Ports(self.inputs, self.outputs)


@dataclasses.dataclass(frozen=True)
class PreprocessingDifference:
    """What the two cards' preprocessings make of the same pictures.

    Attributes:
        largest_difference: Largest absolute difference of two values of the networks' inputs.
        mean_difference: Mean absolute difference.
    """

    largest_difference: float
    mean_difference: float


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `verify_artifacts` found.

    Attributes:
        first: The reference; None where it could not be run.
        second: The other; None where it could not be run.
        kernels: Every binary kernel of the file with more of them, and its partner in the other.
        preprocessing: Difference of the inputs; None where the shapes differ, one did not run, or they do not take one
            picture: only that is preprocessed.
        model: Both shown what the first one's preprocessing makes: the difference of the networks alone, one an output;
            empty where nothing was compared.
        noise: Both shown uniform noise.
        deployed: Each shown what its own card's preprocessing makes: what a user of the two sees.
        failures: One sentence each; empty if the artifacts agree.
        notes: What the reader should know, one sentence each.
    """

    first: Side | None
    second: Side | None
    kernels: tuple[KernelMatch, ...]
    preprocessing: PreprocessingDifference | None
    model: tuple[Agreement, ...]
    noise: tuple[Agreement, ...]
    deployed: tuple[Agreement, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """The verification as dictionaries, lists, strings and numbers."""
        return {"passed": self.passed, **dataclasses.asdict(self)}


def verify_artifacts(
    first: str | Path,
    second: str | Path,
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    pictures: int = 256,
    custom: Iterable[str] = (),
    progress: Progress | None = None,
) -> Verification:
    """Check that two artifacts hold the same network, whatever their formats.

    Inputs and outputs are compared by their names where both have the same, else in their order.

    Args:
        first: The reference: `.h5`, `.keras`, `.tflite` or a SavedModel directory.
        second: What is compared with it.
        dataset: Dataset whose test pictures both see; None for that of a card, else bundled photographs.
        data_dir: Where prepared datasets lie.
        pictures: Largest number of real pictures.
        custom: Modules of the user's own, whose classes and functions the files may name.
        progress: Called with one line before each slow step.

    Raises:
        UsageError: An unknown dataset, or one for a network that does not take one picture; no pictures; no such
            module.
        BopkitError: The dataset is not prepared.
    """
    if pictures < 1:
        raise UsageError(f"{pictures} pictures cannot show anything.", "Use a number of pictures from 1.")
    progress = progress or silent
    failures: list[str] = []
    notes: list[str] = []
    name = dataset or _dataset_of_cards((first, second), data_dir, notes)
    if name is not None:
        open_dataset(name, data_dir=data_dir)  # what is wrong with it is one error, not two failures
    grid = _pixel_preprocessing(first, second)
    sides: list[Side | None] = []
    with tempfile.TemporaryDirectory(prefix="bopkit-verify-") as scratch:
        folders = [Path(scratch, "first"), Path(scratch, "second")]
        for path, folder in zip((first, second), folders, strict=True):
            progress(f"Running {path}")
            folder.mkdir()
            given = sides[0] if sides else None
            try:
                sides.append(_run(path, folder, folders[0], given, name, data_dir, pictures, grid, custom))
            except UsageError:
                raise
            except BopkitError as error:
                failures.append(f"{error.message} {error.hint}".strip())
                sides.append(None)
        one, two = sides
        if one is None or two is None:
            return Verification(one, two, (), None, (), (), (), tuple(failures), tuple(notes))
        for side in (one, two):
            if dataset is not None and not side.ports.takes_picture:
                takes = f"{side.path} takes {ports_text(side.inputs)}"
                raise UsageError(f"--dataset is for networks of one picture; {takes}.", "Leave out --dataset.")
        notes += [f"{side.path}: {UNCHECKED}" for side in (one, two) if not side.has_checksum]
        matches = _compare_kernels([load_kernels(folder / KERNELS) for folder in folders], (one, two), failures, notes)
        failures[:0] = _structure_failures(one, two)
        return _compare_scores(one, two, folders, matches, failures, notes)


def _pixel_preprocessing(*paths: str | Path) -> str | None:
    """The preprocessing inside the first of the artifacts that takes uint8 pixels."""
    for path in paths:
        with contextlib.suppress(BopkitError):  # a damaged artifact fails where it is run
            name = artifact.pixel_preprocessing(path)
            if name is not None:
                return name
    return None


def _run(
    path: str | Path,
    folder: Path,
    first_folder: Path,
    first: Side | None,
    dataset: str | None,
    data_dir: str | Path | None,
    count: int,
    grid: str | None,
    custom: Iterable[str],
) -> Side:
    with Child() as process:
        facts = process.call(
            "bopkit.export.verification.worker:run",
            str(path),
            str(folder),
            str(first_folder) if first is not None else None,
            [dataclasses.asdict(each) for each in first.inputs] if first is not None else [],
            dataset,
            str(data_dir) if data_dir is not None else None,
            count,
            grid,
            list(custom),
            subject=str(path),
            timeout_s=TIMEOUT_S,
        )
    ports = {
        kind: tuple(Port(**{**each, "shape": tuple(each["shape"])}) for each in facts[kind])
        for kind in ("inputs", "outputs")
    }
    return Side(**{**facts, **ports})


def _dataset_of_cards(paths: tuple[str | Path, ...], data_dir: str | Path | None, notes: list[str]) -> str | None:
    """The first dataset that a card names and that is prepared; both artifacts must see the same pictures."""
    for path in paths:
        try:
            card = artifact.read_card(path)
            if card is not None and card.names_stock_dataset:
                open_dataset(card.dataset, data_dir=data_dir)
                return card.dataset
        except BopkitError as error:  # a damaged artifact fails later; photographs serve too
            notes.append(f"The card's dataset was not used: {error.message}")
    return None


def _structure_failures(one: Side, two: Side) -> list[str]:
    return [
        f"the first {verb} {ports_text(ports)}, the second {ports_text(others)}"
        for verb, ports, others in (("takes", one.inputs, two.inputs), ("answers", one.outputs, two.outputs))
        if partners(ports, others) is None
    ]


def _compare_kernels(
    kernels: list[tuple[BinaryKernel, ...]], sides: tuple[Side, Side], failures: list[str], notes: list[str]
) -> tuple[KernelMatch, ...]:
    """Compare the bits of all binary kernels, and say which have no partner."""
    if not (kernels[0] or kernels[1]):
        notes.append("No binary kernels to compare: neither file has one that can be told apart.")
    # From the file with more: a layer that runs twice can lie in a flatbuffer twice.
    order = (0, 1) if len(kernels[0]) >= len(kernels[1]) else (1, 0)
    (many, few), (source, target) = [kernels[index] for index in order], [sides[index] for index in order]
    matches = tuple(match_kernels(many, few))
    for kernel, match in zip(many, matches, strict=True):
        if match.second is None:
            _report_missing(kernel, source, target, failures, notes)
        elif match.different:
            failures.append(
                f"{match.first}: {match.different} of {match.weights} bits differ from {match.second} of {target.path}"
            )
    found = {match.second for match in matches}
    for kernel in few:
        if kernel.name not in found:
            _report_missing(kernel, target, source, failures, notes)
    return matches


def _report_missing(kernel: BinaryKernel, source: Side, target: Side, failures: list[str], notes: list[str]) -> None:
    """A packed kernel must be in the other file; a flatbuffer may have folded one that it could not pack."""
    line = f"{kernel.name}: {target.path} has no binary kernel like this one of {source.path}"
    required = kernel.packed and (target.kind != "tflite" or source.kind == "tflite")
    (failures if required else notes).append(line)


def _compare_scores(
    one: Side,
    two: Side,
    folders: list[Path],
    matches: tuple[KernelMatch, ...],
    failures: list[str],
    notes: list[str],
) -> Verification:
    """Compare what both answered; `failures` are completed."""
    trained = not (one.untrained or two.untrained)
    if not trained:
        notes.append("A network is untrained: near-ties are frequent, so agreement has no limit.")
    order = partners(one.outputs, two.outputs)
    if order is None or partners(one.inputs, two.inputs) is None:
        notes.append("The scores were not compared, as the shapes differ.")
        return Verification(one, two, matches, None, (), (), (), tuple(failures), tuple(notes))

    def compared(source: str, real: bool, shown: str, answered: str) -> tuple[Agreement, ...]:
        pictures = Pictures(source, real, tuple(load_arrays(folders[0], f"{shown}_inputs")))
        reference = load_arrays(folders[0], f"{shown}_outputs")
        outputs = load_arrays(folders[1], f"{answered}_outputs")
        return tuple(checks.compare_outputs(one.ports, pictures, reference, [outputs[place] for place in order]))

    model = compared(one.pictures, True, OWN, f"{GIVEN}_{OWN}")
    noise = compared("uniform random input", False, NOISE, f"{GIVEN}_{NOISE}")
    wrong_model = [line for each in model for line in checks.agreement_failures(each, trained, one.path)]
    failures += wrong_model
    if not (one.ports.takes_picture and two.ports.takes_picture):
        notes.append(f"Shown {one.pictures}; cards tell a preprocessing for networks of one picture only.")
        return Verification(one, two, matches, None, model, noise, (), tuple(failures), tuple(notes))
    (own,), (other_own,) = (load_arrays(folder, f"{OWN}_inputs") for folder in folders)
    difference = np.abs(own - other_own)
    preprocessing = PreprocessingDifference(float(difference.max()), float(difference.mean()))
    deployed = compared(one.pictures, True, OWN, OWN)
    if not wrong_model:  # else the networks explain it
        failures += [
            f"the preprocessings differ ({one.preprocessing or 'default'}, {two.preprocessing or 'default'}): {line}"
            for each in deployed
            for line in checks.agreement_failures(each, trained, one.path)
        ]
    return Verification(one, two, matches, preprocessing, model, noise, deployed, tuple(failures), tuple(notes))
