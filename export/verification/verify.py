"""`verify_artifacts`: whether two artifacts are the same network: structure, then bits, then scores.

Each artifact is read and run in a process of its own (`bopkit.export.verification.worker`), so that a damaged one
is one line. What differs because the cards name two preprocessings is told apart from what differs in the networks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from bopkit.artifacts import artifact
from bopkit.data import open_dataset
from bopkit.data.run_dataset import find_run_data
from bopkit.errors import BopkitError, UsageError
from bopkit.export.inspection.contents import BinaryKernel, KernelMatch, match_kernels
from bopkit.export.inspection.report import UNCHECKED
from bopkit.export.network.signature import SignatureTensor, match_tensors, tensors_text
from bopkit.export.options import check_max_drop
from bopkit.export.spec import MAX_DROP_POINTS
from bopkit.export.verification.answers import TIMEOUT_S, compare_answers
from bopkit.export.verification.result import Side, Verification
from bopkit.export.verification.worker import KERNELS, RunRequest, load_kernels
from bopkit.files import temporary_directory
from bopkit.isolation import Child
from bopkit.pretrained import model_path
from bopkit.progress import Progress, silent
from bopkit.runs.directory import is_run
from bopkit.runs.run_data import RunData


def verify_artifacts(
    first: str | Path,
    second: str | Path,
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    pictures: int = 256,
    custom: Iterable[str] = (),
    progress: Progress | None = None,
    preprocess_fn: str | None = None,
    max_drop: float = MAX_DROP_POINTS,
) -> Verification:
    """Check that two artifacts hold the same network, whatever their formats.

    Inputs and outputs are compared by their names where both have the same, else in their order.

    Args:
        first: The reference: `.h5`, `.keras`, `.tflite`, a SavedModel directory or `pull:NAME`.
        second: The artifact that is compared with it.
        dataset: Dataset whose test pictures both see; None for that of the run that one of them is in, else that of a
            card, else bundled photographs.
        data_dir: Where prepared datasets are.
        pictures: Largest number of real pictures.
        custom: Modules of the user's own, whose classes and functions the files may name.
        progress: Called with one line before each slow step.
        preprocess_fn: Preprocessing of those artifacts whose cards name none; None to show them pictures of -1 to 1.
        max_drop: Largest loss of top-1 of a trained network, in points of a percent: of accuracy where a flatbuffer has
            weights in fewer bits, else every picture with another class counts as lost.

    Raises:
        UsageError: An unknown preprocessing or dataset, a preprocessing that both cards leave no use for, or a dataset
            for a network that does not take one picture; no pictures; no such module; a `max_drop` that is no number
            from 0 to 100.
        BopkitError: The dataset is not prepared.
    """
    if pictures < 1:
        raise UsageError(f"The number of pictures is {pictures}.", "Use at least one picture.")
    check_max_drop(max_drop)
    first, second = (model_path(each, progress) for each in (first, second))
    progress = progress or silent
    failures: list[str] = []
    notes: list[str] = []
    named = RunData.named_here(dataset, data_dir) if dataset is not None else None
    data = named or _data_of((first, second), data_dir, notes)
    classes = 0
    if data is not None:
        with data.as_in_the_run():  # what is wrong with it is one error, not two failures
            classes = len(open_dataset(data.dataset, data.data_dir).class_names)
    with temporary_directory("verify") as scratch:
        request = RunRequest(
            path=str(first),
            folder=str(Path(scratch, "first")),
            data=data,
            classes=classes,
            pictures=pictures,
            pixel_preprocessing=_name_of_pixel_preprocessing(first, second),
            custom=tuple(custom),
            preprocess_fn=preprocess_fn,
        )
        one, two = _run_both(request, second, Path(scratch, "second"), failures, progress)
        if one is None or two is None:
            return Verification(one, two, (), None, (), (), (), tuple(failures), tuple(notes))
        for side in (one, two):
            if dataset is not None and not side.signature.takes_picture:
                takes = f"{side.path} takes {tensors_text(side.inputs)}"
                raise UsageError(f"--dataset is for networks of one picture; {takes}.", "Leave out --dataset.")
        if preprocess_fn is not None and all(side.preprocessing != preprocess_fn for side in (one, two)):
            names = " and ".join(dict.fromkeys(side.preprocessing for side in (one, two) if side.preprocessing))
            why = f"both model cards name one already ({names})" if names else "neither artifact takes one picture"
            raise UsageError(f"--preprocess-fn {preprocess_fn} has no use: {why}.", "Leave out --preprocess-fn.")
        notes += [f"{side.path}: {UNCHECKED}" for side in (one, two) if not side.has_checksum]
        folders = [Path(scratch, "first"), Path(scratch, "second")]
        matches = _compare_kernels([load_kernels(folder / KERNELS) for folder in folders], (one, two), failures, notes)
        failures[:0] = _structure_failures(one, two)
        answers = compare_answers(request, (one, two), folders, max_drop)
        return Verification(
            first=one,
            second=two,
            kernels=matches,
            preprocessing=answers.preprocessing,
            model=answers.model,
            noise=answers.noise,
            deployed=answers.deployed,
            failures=(*failures, *answers.failures),
            notes=(*notes, *answers.notes),
            accuracy=answers.accuracy,
            undecided=answers.undecided,
        )


def _data_of(paths: tuple[str | Path, ...], data_dir: str | Path | None, notes: list[str]) -> RunData | None:
    """The pictures of the first run or card that tells of some that open; both artifacts must see the same ones."""
    for path in paths:
        try:
            # A SavedModel lies in the run by its folder, not by the folder of its version.
            file = artifact.resolve(path) if is_run(Path(path)) else Path(path)
            of_run, note = find_run_data(file, data_dir)
            if of_run is not None:
                return of_run
            notes += [note] * bool(note)
            card = artifact.read_card(path)
            if card is not None and card.names_stock_dataset:
                open_dataset(card.dataset, data_dir=data_dir, own_modules=False)
                return RunData.named_here(card.dataset, data_dir)
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


def _run_both(
    request: RunRequest, second: str | Path, folder: Path, failures: list[str], progress: Progress
) -> tuple[Side | None, Side | None]:
    """Run the first artifact, then the second on the same inputs; both anew where the second alone tells of indices."""
    progress(f"Running {request.path}")
    one = _run(request, failures)
    progress(f"Running {second}")
    two = _run(_second_request(request, one, second, folder), failures)
    places = match_tensors(one.inputs, two.inputs) if one is not None and two is not None else None
    if one is None or two is None or places is None or request.indices is not None:
        return one, two
    indices = tuple(two.inputs[place].indices for place in places)
    if all(each is None for each in indices) or any(each.indices is not None for each in one.inputs):
        return one, two
    return _run_both(dataclasses.replace(request, indices=indices), second, folder, failures, progress)


def _second_request(first: RunRequest, reference: Side | None, path: str | Path, folder: Path) -> RunRequest:
    """The request for the second artifact; it is shown the inputs of the first one too, if that could be run."""
    request = dataclasses.replace(first, path=str(path), folder=str(folder), indices=None)
    if reference is None:
        return request
    return dataclasses.replace(request, reference_folder=first.folder, reference_inputs=reference.inputs)


def _run(request: RunRequest, failures: list[str]) -> Side | None:
    """Read and run one artifact in a process of its own; None where it cannot be, which is one more failure.

    Raises:
        UsageError: There is no such module or dataset.
    """
    Path(request.folder).mkdir(exist_ok=True)
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


def _report_missing(kernel: BinaryKernel, source: Side, target: Side, failures: list[str], notes: list[str]) -> None:
    """A packed kernel must be in the other file; a flatbuffer may have folded one that it could not pack."""
    line = f"{kernel.name}: {target.path} has no binary kernel like this one of {source.path}"
    required = kernel.packed and (target.kind != "tflite" or source.kind == "tflite")
    (failures if required else notes).append(line)
