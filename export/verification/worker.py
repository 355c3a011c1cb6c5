"""The process that runs one of two artifacts for `bopkit verify`: its bits and answers go to files in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import host
from bopkit.artifacts import artifact, checksum
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.custom_code import CustomCode
from bopkit.benchmark.runtimes.keras import KerasRuntime
from bopkit.benchmark.runtimes.runtime import Runtime, make_runtime, reference_runtime
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError
from bopkit.export.checks.scores import softmax
from bopkit.export.inspection.contents import BinaryKernel, read_contents
from bopkit.export.network.embedding_indices import indices_of_flatbuffer, indices_of_model
from bopkit.export.network.rewrites import to_float32
from bopkit.export.network.signature import Signature, SignatureTensor, match_tensors
from bopkit.export.pictures import Pictures, batches, pictures_for, round_to_pixels, with_preprocessing
from bopkit.export.reference import BATCH_SIZE
from bopkit.export.sources.source import load_file, use_custom_code
from bopkit.runs.run_data import RunData

PICTURES, NOISE = "pictures", "noise"
"""Files of what an artifact is shown and answers: what its own preprocessing makes of real pictures, and noise."""

PICTURES_OF_REFERENCE, NOISE_OF_REFERENCE = "pictures_of_reference", "noise_of_reference"
"""Files of what the second artifact answers to the inputs of the first."""

LABELS = "labels"
"""File of the classes of the real pictures, where they are known."""

KERNELS = "kernels.npz"


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """What to run one artifact on.

    Attributes:
        path: The artifact.
        folder: Where kernels, inputs and outputs go.
        data: Pictures for networks that take one; None for photographs.
        classes: That those pictures have; 0 for photographs.
        pictures: Largest number of pictures.
        pixel_preprocessing: Preprocessing inside that one of the two that takes uint8 pixels: both are then shown only
            what pixels can be preprocessed to. None where neither takes them.
        preprocess_fn: Preprocessing of an artifact whose card names none; None to show it what fits -1 to 1.
        indices: What the other artifact tells of the inputs that are indices, where this one does not: as
            `SignatureTensor.indices`, one an input.
        custom: Modules of the user's own, whose classes and functions the file may name.
        reference_folder: Folder of the artifact that ran before this one, whose inputs are shown to this one too.
        reference_inputs: The inputs of that artifact.
    """

    path: str
    folder: str
    data: RunData | None
    classes: int
    pictures: int
    pixel_preprocessing: str | None
    custom: tuple[str, ...]
    preprocess_fn: str | None = None
    indices: tuple[int | None, ...] | None = None
    reference_folder: str | None = None
    reference_inputs: tuple[SignatureTensor, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunRequest:
        """The request from its fields as JSON gives them back."""
        inputs = tuple(map(SignatureTensor.from_dict, values["reference_inputs"]))
        data = RunData(**values["data"]) if values["data"] else None
        return cls(**{**values, "reference_inputs": inputs, "data": data})


def run(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read and run one artifact.

    Args:
        values: The fields of a `RunRequest`.

    Returns:
        The fields of `bopkit.export.verification.result.Side`.
    """
    request = RunRequest.from_dict(values)
    path, folder = request.path, Path(request.folder)
    kind, card, resolved = artifact.kind(path), artifact.read_card(path), artifact.resolve(path)
    is_untrained = card is not None and not card.trained
    # Before TensorFlow runs anything, as it sets its threads.
    runtime = make_runtime(kind, host.logical_cores(), reference_runtime(kind))
    with use_custom_code(request.custom) as custom_code:
        indices = _open(runtime, resolved, custom_code)
        _save_kernels(read_contents(path, custom_code).kernels, folder / KERNELS)
    record = artifact.read_record(path) or {}
    output = record.get("output")
    is_logits = isinstance(output, dict) and output.get("name") == "logits"
    taken = _signature_of(runtime).with_indices(request.indices or indices)
    card = _card_with_preprocessing(card, request.preprocess_fn, taken)
    real, noise = _pictures(request, taken, card)
    reference = _inputs_of_reference(request, runtime)
    for shown, pictures, shown_by_reference in (
        (NOISE, noise, NOISE_OF_REFERENCE),
        (PICTURES, real, PICTURES_OF_REFERENCE),
    ):
        save_arrays(folder, f"{shown}_inputs", pictures.inputs)
        answers = _answer(runtime, pictures.inputs, is_logits)
        save_arrays(folder, f"{shown}_outputs", answers)
        if reference is not None:
            of_reference = _answer(runtime, reference[shown], is_logits)
            save_arrays(folder, f"{shown_by_reference}_outputs", of_reference)
    if real.labels is not None:
        save_arrays(folder, LABELS, [real.labels])
    outputs = [(name, each.shape[1:]) for name, each in zip(runtime.outputs, answers, strict=True)]
    signature = Signature(taken.inputs, Signature.from_shapes(runtime.inputs, outputs).outputs)
    signature = signature.with_probabilities(answers)
    signature = signature.with_classes(len(card.class_names) if card is not None else 0)
    signature = signature.with_classes(request.classes)
    return {
        "path": str(resolved),
        "kind": kind,
        "runtime": runtime.name,
        **dataclasses.asdict(signature),
        "preprocessing": card.preprocessing if card is not None else "",
        "untrained": is_untrained,
        "has_checksum": checksum.check(resolved),
        "pictures": real.source,
        "is_rounded": record.get("float_weights", "float32") != "float32",
    }


def _open(runtime: Runtime, path: Path, custom_code: CustomCode) -> list[int | None]:
    """Make the artifact ready; what it tells of the inputs that are indices, as `SignatureTensor.indices`."""
    if isinstance(runtime, KerasRuntime):
        model = to_float32(load_file(path, custom_code).model)  # as it is exported
        runtime.use(model, path)
        return indices_of_model(model)
    runtime.open(path)
    if artifact.kind(path) == "tflite":
        return indices_of_flatbuffer(artifact.read_flatbuffer(path).graphs[0])
    return [None] * len(runtime.inputs)  # no layers, and any number of functions


def _signature_of(runtime: Runtime) -> Signature:
    """Inputs, and the names of the outputs: their shapes come with the answers."""
    return Signature.from_shapes(runtime.inputs, [(name, ()) for name in runtime.outputs])


def _card_with_preprocessing(card: ModelCard | None, name: str | None, signature: Signature) -> ModelCard | None:
    """The card with the preprocessing that the user names for one that names none."""
    if name is None or not signature.takes_picture or (card is not None and card.preprocessing):
        return card
    return with_preprocessing(card, name, signature.inputs[0])


def _pictures(request: RunRequest, signature: Signature, card: ModelCard | None) -> tuple[Pictures, Pictures]:
    """What the artifact is shown: real pictures, noise in their place where it takes none, and noise."""
    # Not the card's own dataset: both artifacts must see the same pictures.
    card = dataclasses.replace(card, dataset="") if card is not None else None
    if request.data is None:
        real, noise = pictures_for(signature, card, None, None, request.pictures)
    else:
        with request.data.as_in_the_run():
            real, noise = pictures_for(signature, card, request.data.dataset, request.data.data_dir, request.pictures)
    real = real or noise
    if request.pixel_preprocessing is None or not signature.takes_picture:
        return real, noise
    shape: Any = signature.inputs[0].shape
    preprocessing = get_preprocessing(request.pixel_preprocessing, shape)
    return round_to_pixels(real, preprocessing), round_to_pixels(noise, preprocessing)


def _inputs_of_reference(request: RunRequest, runtime: Runtime) -> dict[str, tuple[np.ndarray, ...]] | None:
    """What the reference was shown, in the order of this artifact's inputs; None without one that takes the same."""
    places = match_tensors(_signature_of(runtime).inputs, request.reference_inputs)
    if request.reference_folder is None or places is None:
        return None
    folder = Path(request.reference_folder)
    inputs = {shown: load_arrays(folder, f"{shown}_inputs") for shown in (NOISE, PICTURES)}
    return {shown: tuple(arrays[place] for place in places) for shown, arrays in inputs.items()}


def _answer(runtime: Runtime, inputs: tuple[np.ndarray, ...], is_logits: bool) -> list[np.ndarray]:
    """What the artifact answers, probabilities in place of logits, one array an output.

    Raises:
        BopkitError: It is not a finite answer to each example.
    """
    answers = [runtime.run(batch) for batch in batches(inputs, BATCH_SIZE)]
    outputs = [np.concatenate(each) for each in zip(*answers, strict=True)]
    for output, values in zip(runtime.outputs, outputs, strict=True):
        if len(values) != len(inputs[0]) or not np.isfinite(values).all():
            raise BopkitError(
                f"{output} of shape {list(values.shape)} is not a finite result for each of {len(inputs[0])} examples.",
                "The weights are damaged, or the file is not a network.",
            )
    return list(map(softmax, outputs)) if is_logits else outputs


def save_arrays(folder: Path, name: str, arrays: Sequence[np.ndarray]) -> None:
    """Save the inputs or outputs of a network in files of their own, which can be read in parts."""
    for index, each in enumerate(arrays):
        np.save(folder / f"{name}_{index}.npy", each)


def load_arrays(folder: Path, name: str) -> list[np.ndarray]:
    """What `save_arrays` has saved, in its order."""
    count = len(list(folder.glob(f"{name}_*.npy")))
    return [np.load(folder / f"{name}_{index}.npy", mmap_mode="r") for index in range(count)]


def _save_kernels(kernels: tuple[BinaryKernel, ...], path: Path) -> None:
    fields = [(each.name, each.weights_per_output, each.may_be_negated, each.packed) for each in kernels]
    names, weights, negated, packed = zip(*fields, strict=True) if fields else ((), (), (), ())
    bits = {f"bits_{index}": each.negative for index, each in enumerate(kernels)}
    np.savez(path, names=np.array(names, np.str_), weights=weights, negated=negated, packed=packed, **bits)


def load_kernels(path: Path) -> tuple[BinaryKernel, ...]:
    """Read what `run` left at `KERNELS` in its folder."""
    with np.load(path) as stored:
        fields = zip(stored["names"], stored["weights"], stored["negated"], stored["packed"], strict=True)
        return tuple(
            BinaryKernel(str(name), stored[f"bits_{index}"], int(weights), bool(negated), bool(packed))
            for index, (name, weights, negated, packed) in enumerate(fields)
        )
