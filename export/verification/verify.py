"""`verify_artifacts`: whether two artifacts are the same network: structure, then bits, then scores.

Each artifact is read and run in a process of its own (`bopkit.export.verification.worker`), so that a damaged one
is one line. What differs because the cards name two preprocessings is told apart from what differs in the networks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bopkit.artifacts import artifact
from bopkit.data import open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.export.checks.scores import agreement_failures, compare_outputs, is_undecided
from bopkit.export.inspection.contents import BinaryKernel, KernelMatch, match_kernels
from bopkit.export.inspection.report import UNCHECKED
from bopkit.export.network.signature import Signature, SignatureTensor, match_tensors, tensors_text
from bopkit.export.pictures import Pictures
from bopkit.export.report import Agreement
from bopkit.export.verification.result import PreprocessingDifference, Side, Verification
from bopkit.export.verification.tracing import TraceRequest, trace_in_child
from bopkit.export.verification.worker import (
    KERNELS,
    NOISE,
    NOISE_OF_REFERENCE,
    PICTURES,
    PICTURES_OF_REFERENCE,
    RunRequest,
    load_arrays,
    load_kernels,
)
from bopkit.files import temporary_directory
from bopkit.isolation import Child
from bopkit.progress import Progress, silent

_SHOWN_TO_BOTH = ((PICTURES, PICTURES_OF_REFERENCE), (NOISE, NOISE_OF_REFERENCE))
"""Files of the first and of the second artifact in which both are shown the same: what the first one takes."""

TIMEOUT_S = 3600.0
"""For one artifact on all pictures."""


def verify_artifacts(
    first: str | Path,
    second: str | Path,
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    pictures: int = 256,
    custom: Iterable[str] = (),
    progress: Progress | None = None,
    preprocess_fn: str | None = None,
) -> Verification:
    """Check that two artifacts hold the same network, whatever their formats.

    Inputs and outputs are compared by their names where both have the same, else in their order.

    Args:
        first: The reference: `.h5`, `.keras`, `.tflite` or a SavedModel directory.
        second: The artifact that is compared with it.
        dataset: Dataset whose test pictures both see; None for that of a card, else bundled photographs.
        data_dir: Where prepared datasets are.
        pictures: Largest number of real pictures.
        custom: Modules of the user's own, whose classes and functions the files may name.
        progress: Called with one line before each slow step.
        preprocess_fn: Preprocessing of those artifacts whose cards name none; None to show them pictures of -1 to 1.

    Raises:
        UsageError: An unknown preprocessing or dataset, or a dataset for a network that does not take one picture; no
            pictures; no such module.
        BopkitError: The dataset is not prepared.
    """
    if pictures < 1:
        raise UsageError(f"The number of pictures is {pictures}.", "Use at least one picture.")
    progress = progress or silent
    failures: list[str] = []
    notes: list[str] = []
    name = dataset or _dataset_of_cards((first, second), data_dir, notes)
    if name is not None:
        open_dataset(name, data_dir=data_dir)  # what is wrong with it is one error, not two failures
    with temporary_directory("verify") as scratch:
        request = RunRequest(
            path=str(first),
            folder=str(Path(scratch, "first")),
            dataset=name,
            data_dir=str(data_dir) if data_dir is not None else None,
            pictures=pictures,
            pixel_preprocessing=_name_of_pixel_preprocessing(first, second),
            custom=tuple(custom),
            preprocess_fn=preprocess_fn,
        )
        progress(f"Running {first}")
        one = _run(request, failures)
        progress(f"Running {second}")
        two = _run(_second_request(request, one, second, Path(scratch, "second")), failures)
        if one is None or two is None:
            return Verification(one, two, (), None, (), (), (), tuple(failures), tuple(notes))
        for side in (one, two):
            if dataset is not None and not side.signature.takes_picture:
                takes = f"{side.path} takes {tensors_text(side.inputs)}"
                raise UsageError(f"--dataset is for networks of one picture; {takes}.", "Leave out --dataset.")
        notes += [f"{side.path}: {UNCHECKED}" for side in (one, two) if not side.has_checksum]
        folders = [Path(scratch, "first"), Path(scratch, "second")]
        matches = _compare_kernels([load_kernels(folder / KERNELS) for folder in folders], (one, two), failures, notes)
        failures[:0] = _structure_failures(one, two)
        return _compare_scores(request, one, two, folders, matches, failures, notes)


def _dataset_of_cards(paths: tuple[str | Path, ...], data_dir: str | Path | None, notes: list[str]) -> str | None:
    """The first dataset that a card names and that is prepared; both artifacts must see the same pictures."""
    for path in paths:
        try:
            card = artifact.read_card(path)
            if card is not None and card.names_stock_dataset:
                open_dataset(card.dataset, data_dir=data_dir, own_modules=False)
                return card.dataset
        except BopkitError as error:  # a damaged artifact fails later; photographs serve too
            notes.append(f"The card's dataset was not used: {error.message}")
    return None


def _name_of_pixel_preprocessing(*paths: str | Path) -> str | None:
    """The preprocessing inside the first of the artifacts that takes uint8 pixels."""
    for path in paths:
        with contextlib.suppress(BopkitError):  # a damaged artifact fails where it is run
            name = artifact.pixel_preprocessing(path)
            if name is not None:
                return name
    return None


def _second_request(first: RunRequest, reference: Side | None, path: str | Path, folder: Path) -> RunRequest:
    """The request for the second artifact; it is shown the inputs of the first one too, if that could be run."""
    request = dataclasses.replace(first, path=str(path), folder=str(folder))
    if reference is None:
        return request
    return dataclasses.replace(request, reference_folder=first.folder, reference_inputs=reference.inputs)


def _run(request: RunRequest, failures: list[str]) -> Side | None:
    """Read and run one artifact in a process of its own; None where it cannot be, which is one more failure.

    Raises:
        UsageError: There is no such module or dataset.
    """
    Path(request.folder).mkdir()
    try:
        with Child() as process:
            values = process.call(
                "bopkit.export.verification.worker:run",
                dataclasses.asdict(request),
                subject=request.path,
                timeout_s=TIMEOUT_S,
            )
    except UsageError:
        raise
    except BopkitError as error:
        failures.append(f"{error.message} {error.hint}".strip())
        return None
    tensors = {kind: tuple(map(SignatureTensor.from_dict, values[kind])) for kind in ("inputs", "outputs")}
    return Side(**{**values, **tensors})


def _structure_failures(one: Side, two: Side) -> list[str]:
    return [
        f"the first {verb} {tensors_text(tensors)}, the second {tensors_text(others)}"
        for verb, tensors, others in (("takes", one.inputs, two.inputs), ("returns", one.outputs, two.outputs))
        if match_tensors(tensors, others) is None
    ]


def _compare_kernels(
    kernels: list[tuple[BinaryKernel, ...]], sides: tuple[Side, Side], failures: list[str], notes: list[str]
) -> tuple[KernelMatch, ...]:
    """Compare the bits of all binary kernels, and say which have no partner."""
    if not (kernels[0] or kernels[1]):
        notes.append("No binary kernels to compare: neither file has any that can be recognised.")
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


def _traced(
    compared: list[tuple[Agreement, ...]], request: RunRequest, sides: tuple[Side, Side], folders: list[Path]
) -> list[tuple[Agreement, ...]]:
    """The agreements with their disagreements traced, where one side is a Keras file and the other a flatbuffer.

    Args:
        compared: For each of `_SHOWN_TO_BOTH`, the agreement of every output.
        request: Of the first side.
        sides: Both artifacts.
        folders: What each of them was shown and answered.
    """
    kinds = [side.kind for side in sides]
    is_traceable = sorted(kinds) == ["keras", "tflite"] and all(len(side.inputs) == 1 for side in sides)
    if not is_traceable or not any(each.disagreements for agreements in compared for each in agreements):
        return compared
    keras = kinds.index("keras")
    trace = TraceRequest(
        keras_file=sides[keras].path,
        flatbuffer=sides[1 - keras].path,
        pixel_preprocessing=artifact.pixel_preprocessing(sides[1 - keras].path),
        custom=request.custom,
        inputs_folder=str(folders[0]),
        inputs=tuple(f"{shown[0]}_inputs" for shown in _SHOWN_TO_BOTH),
        answers_folder=str(folders[keras]),
        answers=tuple(f"{shown[keras]}_outputs" for shown in _SHOWN_TO_BOTH),
        compared=tuple(tuple(map(dataclasses.asdict, agreements)) for agreements in compared),
    )
    return trace_in_child(trace, TIMEOUT_S)


def _signature_of_both(one: Side, two: Side, places: list[int]) -> Signature:
    """The first one's signature; what the second one tells of its outputs, at those places, is true of both."""
    others = [two.outputs[place] for place in places]
    outputs = tuple(
        dataclasses.replace(output, names_class=output.names_class or other.names_class)
        for output, other in zip(one.outputs, others, strict=True)
    )
    return Signature(one.inputs, outputs)


def _report_missing(kernel: BinaryKernel, source: Side, target: Side, failures: list[str], notes: list[str]) -> None:
    """A packed kernel must be in the other file; a flatbuffer may have folded one that it could not pack."""
    line = f"{kernel.name}: {target.path} has no binary kernel like this one of {source.path}"
    required = kernel.packed and (target.kind != "tflite" or source.kind == "tflite")
    (failures if required else notes).append(line)


def _compare_scores(
    request: RunRequest,
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
        notes.append(
            "A network is untrained: near-ties are frequent, so no minimum agreement is required; what is proven to be "
            "no near-tie is a failure."
        )
    places = match_tensors(one.outputs, two.outputs)
    if places is None or match_tensors(one.inputs, two.inputs) is None:
        notes.append("The scores were not compared, as the shapes differ.")
        return Verification(one, two, matches, None, (), (), (), tuple(failures), tuple(notes))

    signature = _signature_of_both(one, two, places)

    def compared(source: str, real: bool, shown_first: str, shown_second: str) -> tuple[Agreement, ...]:
        pictures = Pictures(source, real, tuple(load_arrays(folders[0], f"{shown_first}_inputs")))
        reference = load_arrays(folders[0], f"{shown_first}_outputs")
        outputs = load_arrays(folders[1], f"{shown_second}_outputs")
        return tuple(compare_outputs(signature, pictures, reference, [outputs[place] for place in places]))

    sources = ((one.pictures, True), ("uniform random input", False))
    untraced = [compared(*source, *shown) for source, shown in zip(sources, _SHOWN_TO_BOTH, strict=True)]
    model, noise = _traced(untraced, request, (one, two), folders)
    wrong_model = [line for each in (*model, *noise) for line in agreement_failures(each, trained, one.path)]
    failures += wrong_model
    undecided = not wrong_model and any(is_undecided(each, trained) for each in (*model, *noise))
    if undecided:
        notes.append(
            "Not decided: the untrained network answers some pictures otherwise, and nothing shows whether near-ties "
            "alone explain that. Verify it again once it is trained."
        )
    for side in (one, two):
        if not side.preprocessing and side.signature.takes_picture:
            notes.append(
                f"{side.path} does not say what range of values it wants: photographs and noise were of -1 to 1. "
                "Name its preprocessing with --preprocess-fn."
            )
    if not (one.signature.takes_picture and two.signature.takes_picture):
        notes.append(
            f"Compared on {one.pictures}; the preprocessing was not compared, as the networks do not take one picture."
        )
        return Verification(one, two, matches, None, model, noise, (), tuple(failures), tuple(notes), undecided)
    (pictures,), (others,) = (load_arrays(folder, f"{PICTURES}_inputs") for folder in folders)
    difference = np.abs(pictures - others)
    preprocessing = PreprocessingDifference(float(difference.max()), float(difference.mean()))
    deployed = compared(one.pictures, True, PICTURES, PICTURES)
    if not wrong_model:  # else the networks explain it
        failures += [
            f"the preprocessings differ ({one.preprocessing or 'default'}, {two.preprocessing or 'default'}): {line}"
            for each in deployed
            for line in agreement_failures(each, trained, one.path)
        ]
    return Verification(
        *(one, two, matches, preprocessing, model, noise, deployed), tuple(failures), tuple(notes), undecided
    )
