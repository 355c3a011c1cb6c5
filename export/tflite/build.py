"""The LCE flatbuffer: rewritten, converted, its float layers in fewer bits where asked for, with its description."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts import artifact, checksum
from bopkit.artifacts.tflite_metadata import card_entry, embed_metadata
from bopkit.data import Preprocessing, get_preprocessing
from bopkit.errors import BopkitError
from bopkit.export.network.signature import Signature, SignatureTensor
from bopkit.export.options import ExportOptions
from bopkit.export.pictures import UNKNOWN_VALUE_RANGE, calibration_pictures
from bopkit.export.reference import Reference
from bopkit.export.report import Accuracy, PassReport
from bopkit.export.tflite import edit, inputs_and_outputs, integer_network, metadata, quantize, schema
from bopkit.export.tflite.convert import convert
from bopkit.export.tflite.quantize import StoredKernel
from bopkit.export.tflite.run import Inputs, predict_flatbuffer
from bopkit.keras2 import import_tensorflow
from bopkit.versions import package_versions

CALIBRATION_BATCH = 8
"""Pictures at a time: every layer's activations of a batch are held at once."""


@dataclasses.dataclass(frozen=True)
class Flatbuffer:
    """A converted network before its metadata.

    Attributes:
        model: As `schema.parse` gives it.
        content: The same as bytes.
        signature: Its inputs and outputs.
        passes: The rewrites that ran.
        kernels: Kernels stored in fewer than 32 bits.
        computes_in_int8: Whether some full-precision layers compute in int8 too.
    """

    model: Any
    content: bytes
    signature: Signature
    passes: tuple[PassReport, ...]
    kernels: tuple[StoredKernel, ...]
    computes_in_int8: bool = False

    @property
    def is_rounded(self) -> bool:
        """Whether a full-precision kernel was changed by storing it in fewer bits."""
        return not all(each.exact for each in self.kernels)


def build_flatbuffer(reference: Reference, options: ExportOptions, scratch: Path) -> Flatbuffer:
    """Convert a network for one example at a time.

    Its inputs and outputs are those of the reference, in that order, float32 [1, ...]; an input of pixels is uint8.

    Args:
        reference: The network.
        options: Precision, input, output and target.
        scratch: A folder name that is free, for scratch files.

    Raises:
        BopkitError: LCE's converter refuses the network, or it has no softmax to leave out.
    """
    converted, passes = convert(reference, options.target, scratch)
    model = schema.parse(converted)
    signature = reference.signature
    inputs_and_outputs.order_by_signature(model, signature)
    if options.output == "logits":
        signature = signature.with_scores("logits", is_probabilities=False)
        if not inputs_and_outputs.remove_softmax(model, signature.outputs[0].name):
            raise BopkitError("The network does not end in a softmax.", "Leave out --output logits.")
    if options.input_type == "uint8":
        inputs_and_outputs.take_pixels(model)
    operators = len(model.subgraphs[0].operators)
    integers = [] if options.calibrate is None else _run_in_integers(model, reference, options)
    added_operators = len(model.subgraphs[0].operators) - operators
    kernels = quantize.store_kernels(model, options.float_weights)
    if options.calibrate is not None:
        passes.append(_reduced("real layer computed in int8", integers, added_operators))
    exact, rounded = ([each for each in kernels if each.exact is wanted] for wanted in (True, False))
    passes.append(_reduced("binary kernel at a real input as int8", exact, len(exact)))
    if options.float_weights != "float32":
        name = f"real kernel as {options.float_weights}"
        passes.append(_reduced(name, rounded, len(rounded)))
    edit.leave_out_defaults(model)
    content = schema.serialise(model)
    return Flatbuffer(model, content, signature, tuple(passes), (*integers, *kernels), bool(integers))


def describe_flatbuffer(
    built: Flatbuffer, reference: Reference, options: ExportOptions, source: Path, accuracy: Accuracy | None
) -> bytes:
    """The content of the file to ship: with card, labels, standard metadata and the record of the export.

    Args:
        built: The checked network.
        reference: Has the card.
        options: For the record.
        source: The Keras file, for the record.
        accuracy: As measured on `built`.
    """
    contract = _contract(built, reference, options)
    record = {
        **_recorded("input", built.signature.inputs, options.input_type, _record_of_values(contract, reference)),
        **_recorded("output", built.signature.outputs, "float32", {}),
        "float_weights": options.float_weights if built.is_rounded else "float32",
        "float_activations": "int8" if built.computes_in_int8 else "float32",
        "calibrated_on": options.calibrate,
        "target": options.target,
        "accuracy": None if accuracy is None else dataclasses.asdict(accuracy),
        "floor_bytes": reference.floor_bytes,
        "source": {"file": source.name, "sha256": checksum.source_checksum(source)},
        "versions": package_versions(),
    }
    entries = {
        metadata.METADATA_NAME: metadata.standard_metadata(contract),
        artifact.EXPORT_RECORD: json.dumps(record).encode(),
        **({} if reference.card is None else card_entry(reference.card)),
        checksum.ENTRY: checksum.BLANK,
    }
    content = metadata.with_labels(embed_metadata(built.content, entries), contract.labels)
    return checksum.sealed(content)


def inputs_for(reference: Reference, inputs: Inputs) -> Inputs:
    """What the flatbuffer takes for the network's inputs, float32 [n, ...]: these, or their pixels as uint8."""
    if reference.pixel_preprocessing is None:
        return inputs
    return tuple(map(reference.pixel_preprocessing.to_pixels, inputs))


def _reduced(name: str, kernels: list[StoredKernel], added_operators: int) -> PassReport:
    """What it saves that kernels are stored in fewer bits; added operators convert them, or what meets them."""
    layers = tuple("x".join(map(str, each.shape)) for each in kernels)
    return PassReport(name, layers, sum(each.saved_bytes for each in kernels), -added_operators)


def _run_in_integers(model: Any, reference: Reference, options: ExportOptions) -> list[StoredKernel]:
    """Let the float layers of a parsed model compute in int8, with ranges from the calibration pictures."""
    assert options.calibrate is not None
    if options.c:
        integer_network.prepare(model)
    else:
        integer_network.repeat_for_signs(model, sums=False)
    shape: Any = reference.signature.inputs[0].shape
    images = calibration_pictures(options.calibrate, options.data_dir, shape, reference.card)
    (pictures,) = inputs_for(reference, (images,))
    tensors = (integer_network.activations if options.c else quantize.activation_tensors)(model)
    if not tensors:
        return []
    tapped = schema.with_outputs(model, tensors)
    batches = (pictures[start : start + CALIBRATION_BATCH] for start in range(0, len(pictures), CALIBRATION_BATCH))
    ranges = quantize.measure_ranges(tensors, batches, lambda batch: predict_flatbuffer(tapped, batch))
    return (integer_network.to_integers if options.c else quantize.quantize_activations)(model, ranges)


def _contract(built: Flatbuffer, reference: Reference, options: ExportOptions) -> metadata.Contract:
    """What the file takes and answers."""
    card = reference.card
    shape: Any = built.signature.inputs[0].shape
    mean, std = None, None
    value_range = UNKNOWN_VALUE_RANGE if card is None else card.value_range
    if reference.pixel_preprocessing is not None:  # pixels as they are
        value_range, mean, std = (0.0, 255.0), (0.0,) * shape[-1], (1.0,) * shape[-1]
    elif card is not None and card.preprocessing and built.signature.takes_picture:
        mean, std = normalisation(get_preprocessing(card.preprocessing, shape))
    return metadata.Contract(
        name=card.architecture if card is not None else reference.model.name,
        description=_description(reference, built, options),
        version=package_versions()["bopkit"],
        signature=built.signature,
        value_range=value_range,
        mean=mean,
        std=std,
        labels=card.class_names if card is not None and built.signature.answers_scores else (),
    )


def _record_of_values(contract: metadata.Contract, reference: Reference) -> dict[str, Any]:
    """What the record tells of the values of every input."""
    return {
        "value_range": contract.value_range,
        "preprocessing": reference.card.preprocessing if reference.card is not None else "",
        "mean": contract.mean,
        "std": contract.std,
    }


def _recorded(kind: str, tensors: tuple[SignatureTensor, ...], dtype: str, values: dict[str, Any]) -> dict[str, Any]:
    """The record of all inputs or outputs: under `kind` where there is one, else a list under its plural."""
    records = [{"name": each.name, "dtype": dtype, "shape": [1, *each.shape], **values} for each in tensors]
    return {kind: records[0]} if len(records) == 1 else {f"{kind}s": records}


def normalisation(preprocessing: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in pixel values: `finish` is (pixel - mean) / std."""
    tf = import_tensorflow()
    black = tf.zeros(preprocessing.input_shape)
    low, high = (preprocessing.finish(pixels).numpy()[0, 0].astype(np.float64) for pixels in (black, black + 255.0))
    std = 255.0 / (high - low)
    return tuple((-low * std).tolist()), tuple(std.tolist())


def _description(reference: Reference, built: Flatbuffer, options: ExportOptions) -> str:
    """One line for a person."""
    card = reference.card
    trained = f", trained on {card.dataset}" if card is not None and card.trained and card.dataset else ""
    weights = options.float_weights if built.is_rounded else "float32"
    activations = ", int8 activations" if built.computes_in_int8 else ""
    return f"Binarized network{trained}; float layers in {weights}{activations}."
