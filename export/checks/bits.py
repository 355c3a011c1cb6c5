"""Whether the packed bits in a written file are those of the Keras network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.counting import is_binary
from bopkit.export.inspection.contents import BinaryKernel, different_weights
from bopkit.export.inspection.lce import PackedConvolution, binary_convolutions
from bopkit.export.network.layers import LayerFacts, materialised_kernel
from bopkit.export.network.packing import pack
from bopkit.export.network.rewrites import is_packed
from bopkit.export.serving import saved_model
from bopkit.export.spec import SAVED_MODEL, TFLITE


@dataclasses.dataclass(frozen=True)
class MatchedConvolution:
    """A binary convolution of a flatbuffer and the Keras layer whose bits it holds."""

    facts: LayerFacts
    convolution: PackedConvolution


def flatbuffer_bits(
    flatbuffer: bytes, layers: list[LayerFacts], may_stay_float: bool = False
) -> tuple[list[MatchedConvolution], list[str]]:
    """Find the Keras layer of each binary convolution by its bits, and what did not match.

    Args:
        flatbuffer: The written file.
        layers: Those of the Keras model.
        may_stay_float: Whether the target's converter may leave layers float that LCE can pack elsewhere.

    Returns:
        The matches in the order in which they run, and one sentence for each binary convolution whose bits
        are those of no layer and for each layer that could be packed and was not.
    """
    missing = [each for each in layers if is_packed(each, TFLITE)]
    candidates = [_Candidate(each, *kernel) for each in layers for kernel in binary_kernels(each)]
    matches, failures = [], []
    (graph,) = TfliteFile(flatbuffer, Path("the flatbuffer")).graphs
    for convolution in binary_convolutions(graph):
        fitting = [each for each in candidates if (1, 1, *each.shape)[-4:] == convolution.shape]
        if not fitting:
            failures.append(f"a packed kernel of shape {convolution.shape} belongs to no layer of the Keras model")
            continue
        differences = [(different_weights(convolution.kernel, each.kernel), each) for each in fitting]
        # A layer that was found before is asked last: it runs twice if the network calls it twice.
        bits, closest = min(differences, key=lambda pair: (pair[0], pair[1].facts not in missing))
        if bits:
            of_bits = f"{bits} of {convolution.kernel.size} packed bits"
            failures.append(f"{closest.facts.name}: {of_bits} differ from Keras in the flatbuffer")
        matches.append(MatchedConvolution(closest.facts, convolution))
        if closest.facts in missing:
            missing.remove(closest.facts)
    if may_stay_float:
        return matches, failures
    failures += [
        f"{each.name}: stayed float, although its kernel is binary and its input binarized" for each in missing
    ]
    return matches, failures


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A binary kernel of the Keras network, and the layer that holds it."""

    facts: LayerFacts
    kernel: BinaryKernel
    shape: tuple[int, ...]


def binary_kernels(facts: LayerFacts) -> list[tuple[BinaryKernel, tuple[int, ...]]]:
    """The binary kernels of a layer, and of those that it wraps, with their shapes.

    LCE's converter packs what it finds, also inside a wrapper and in a class of the user's own.
    """
    found = []
    for layer in facts.layer._flatten_layers():
        if getattr(layer, "kernel", None) is None or layer.kernel.shape.rank not in (2, 4):
            continue
        kernel = facts.kernel() if layer is facts.layer else materialised_kernel(layer)
        if is_binary(kernel):
            found.append((BinaryKernel.of_values(facts.name, kernel), tuple(kernel.shape)))
    return found


def saved_model_bits(loaded: Any, layers: list[LayerFacts]) -> list[str]:
    """Check the packed bits, and the kernels that TensorFlow unpacks from them, against Keras bit for bit."""
    expected = [each for each in layers if is_packed(each, SAVED_MODEL)]
    stored = saved_model.stored_kernels(loaded)
    if len(stored) != len(expected):
        return [f"the SavedModel holds {len(stored)} binary kernels instead of {len(expected)}"]
    failures = []
    for each, (bits, values) in zip(expected, stored, strict=True):
        kernel = each.kernel()
        if bits is not None and not np.array_equal(bits, pack(kernel).bits):
            failures.append(f"{each.name}: packed bits differ from Keras in the SavedModel")
        elif not np.array_equal(values, kernel):
            failures.append(f"{each.name}: the kernel that the SavedModel computes with differs from Keras")
    return failures
