"""LCE's conversion of a network, after the exact rewrites, and what each of them saves in the file.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.artifacts.tflite_graph import Graph
from bopkit.errors import BopkitError, first_line
from bopkit.export.network.binarization import shield_other_signs
from bopkit.export.network.packing import LCE_WORD_BITS
from bopkit.export.network.passes import PASSES, run_passes
from bopkit.export.network.passes.keras_graph import flatten, nodes, producer
from bopkit.export.network.passes.shielding import shield_convolutions
from bopkit.export.network.rewrites import is_packed, rewrite
from bopkit.export.network.signature import call
from bopkit.export.reference import Reference
from bopkit.export.report import PassReport
from bopkit.export.spec import TFLITE
from bopkit.export.tflite.refusal import refuse_recurrent, refuse_unknown, refused_by_converter
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions

FLOAT_BYTES = 4
NORM_OPERATORS = 2
"""A batch norm that the converter folds into nothing is a multiplication and an addition."""


def import_lce() -> Any:
    """Import larq-compute-engine.

    Raises:
        BopkitError: It is not installed.
    """
    import_tensorflow()
    try:
        import larq_compute_engine
    except ImportError as error:
        raise BopkitError(
            "A flatbuffer needs larq-compute-engine, which is not installed; it exists for CPython "
            "3.10 to 3.12 on Linux x86-64, macOS and Windows.",
            "Export the flatbuffer on such a machine; --savedmodel alone works here.",
        ) from error
    return larq_compute_engine


def convert(reference: Reference, target: str, scratch: Path) -> tuple[bytes, list[PassReport]]:
    """Rewrite a network exactly and let LCE convert it, for one example at a time.

    Each rewrite that found something is measured: the network is converted without it, and the two files compared.
    What could not be measured cheaply, as the file would be as large as the network, is derived from the layers.

    Args:
        reference: The network.
        target: `arm` or `xcore`.
        scratch: A folder name that is free, for scratch files.

    Returns:
        The flatbuffer, and what each rewrite did.

    Raises:
        NotForFlatbufferError: LCE's converter refuses the network, or its interpreter would not run the file.
        BopkitError: LCE's converter makes a wrong file of it.
    """
    tf = import_tensorflow()
    refuse_recurrent(reference.model)

    def kernel_source(name: str, kernel: np.ndarray) -> Any:
        # A variable: the converter makes it a constant, and a graph that holds kernels is limited to 2 GB.
        variable = tf.Variable(kernel, trainable=False)
        kernels.append(variable)
        return variable.read_value

    def converted(network: Model, folder: str) -> bytes:
        return _convert_graph(shield_convolutions(network), kernels, reference, target, scratch / folder)

    kernels: list[Any] = []
    network = flatten(rewrite(reference.model, reference.layers, TFLITE, kernel_source))
    rewritten, layers = run_passes(network)
    flatbuffer = converted(rewritten, "all")
    graph = _main_graph(flatbuffer)
    reports = [_dense_as_convolutions(reference)]
    for number, name in enumerate(PASSES):
        report = PassReport(name, tuple(layers[name]), measured=True)
        if layers[name]:
            without = converted(run_passes(network, leave_out=name)[0], str(number))
            before = _main_graph(without)
            report = dataclasses.replace(
                report,
                saved_bytes=len(without) - len(flatbuffer),
                saved_operators=len(before.operators) - len(graph.operators),
                saved_value_bytes=_value_bytes(before) - _value_bytes(graph),
            )
        reports.append(report)
    return flatbuffer, [*reports, _zero_padding_on_small_maps(rewritten), _folded_norms(rewritten, graph)]


def _convert_graph(network: Model, kernels: list[Any], reference: Reference, target: str, scratch: Path) -> bytes:
    """Let LCE convert a network whose kernels are variables of their own."""
    tf = import_tensorflow()
    lce = import_lce()
    module = tf.Module()
    module.weights = [*network.variables, *kernels]
    preprocessing = reference.pixel_preprocessing
    signature = reference.signature

    @tf.function(input_signature=signature.input_specs(TFLITE.batch_size), autograph=False)
    def serve(*inputs: Any) -> dict[str, Any]:
        values = inputs if preprocessing is None else tuple(map(preprocessing.finish, inputs))
        return signature.outputs_by_name(call(network, values))

    tf.saved_model.save(module, str(scratch), signatures={"serving_default": serve})
    shield_other_signs(scratch)
    try:
        flatbuffer: bytes = lce.convert_saved_model(scratch, target=target)
    except Exception as error:  # the converter raises plain Exception, with the log of its passes
        raise refused_by_converter(first_line(error), str(error), reference.model) from error
    refuse_unknown(_graphs(flatbuffer), serve.get_concrete_function().graph.get_operations(), reference.model)
    return flatbuffer


def _main_graph(flatbuffer: bytes) -> Graph:
    return _graphs(flatbuffer)[0]


def _graphs(flatbuffer: bytes) -> tuple[Graph, ...]:
    try:
        return TfliteFile(flatbuffer, Path("the converted network")).graphs
    except BopkitError as error:
        raise BopkitError(
            f"LCE's converter made a wrong file of the network: {error.message}",
            "Type --savedmodel to export the other format alone.",
        ) from error


def _value_bytes(graph: Graph) -> int:
    """Bytes of all values that operators hand on for one example."""
    tensors = [graph.tensors[index] for operator in graph.operators for index in operator.outputs]
    return sum(-(-each.elements * (each.bits or 0) // 8) for each in tensors)


def _dense_as_convolutions(reference: Reference) -> PassReport:
    """What the rewrite of binary dense layers as 1x1 convolutions saves: LCE packs nothing else."""
    dense = [each for each in reference.layers if is_packed(each, TFLITE) and len(each.kernel_shape) == 2]
    # One kernel a unit, and what it meets: floats in the file without the rewrite, bits in words with it.
    saved = [(units, inputs - -(-inputs // LCE_WORD_BITS)) for inputs, units in (each.kernel_shape for each in dense)]
    return PassReport(
        "binary dense layer as 1x1 convolution",
        tuple(each.name for each in dense),
        saved_bytes=sum(FLOAT_BYTES * units * words for units, words in saved),
        saved_value_bytes=sum(FLOAT_BYTES * words for _, words in saved),
    )


def _zero_padding_on_small_maps(network: Model) -> PassReport:
    """What it costs that LCE answers rightly where the kernel is larger than the map: a constant of the map's size."""
    from bopkit.export.network.inference_layers import InferenceZeroPaddedConv2D

    calls = [
        node
        for node in nodes(network)
        if isinstance(node.layer, InferenceZeroPaddedConv2D) and node.layer.reaches_over(node.keras_inputs[0].shape)
    ]
    values = sum(math.prod(node.outputs.shape[1:]) for node in calls)
    return PassReport(
        "zero padding on a map smaller than the kernel",
        tuple(dict.fromkeys(node.layer.name for node in calls)),
        saved_bytes=-FLOAT_BYTES * values,
        saved_operators=-len(calls),
    )


def _folded_norms(network: Model, graph: Graph) -> PassReport:
    """What the converter's folding of batch norms into the layers before them saves.

    A batch norm of its own has a scale and an offset for each channel, float32, and two operators.
    """
    keras = import_tensorflow().keras.layers
    calls = [node for node in nodes(network) if isinstance(node.layer, keras.BatchNormalization)]
    unfolded = _scopes_of_arithmetic(graph, network.name, {node.layer.name for node in calls})
    folded = [node for node in calls if node.layer.name not in unfolded]
    saved_bytes = 0
    for node in folded:
        before = producer(node.keras_inputs[0]).layer
        vectors = 1 if type(before) is keras.Dense and not before.use_bias else 2  # then the offset becomes its bias
        saved_bytes += FLOAT_BYTES * vectors * int(node.layer.moving_mean.shape[0])
    values = sum(math.prod(node.outputs.shape[1:]) for node in folded)
    return PassReport(
        "batch norm folded by the converter",
        tuple(dict.fromkeys(node.layer.name for node in folded)),
        saved_bytes=saved_bytes,
        saved_operators=NORM_OPERATORS * len(folded),
        saved_value_bytes=NORM_OPERATORS * FLOAT_BYTES * values,
    )


def _scopes_of_arithmetic(graph: Graph, network: str, layers: set[str]) -> set[str]:
    """Those of the layers that operators of arithmetic were made for; tensors are called after them."""
    found = set()
    for operator in graph.operators:
        if operator.type in ("ADD", "SUB", "MUL"):
            for index in operator.outputs:
                scope = graph.tensors[index].name.partition(";")[0].removeprefix(f"{network}/").rpartition("/")[0]
                found |= {scope, scope.rpartition("/")[0]}
    # A layer that is called again gets a number behind its name.
    return layers & (found | {re.sub(r"_\d+$", "", scope) for scope in found - layers})
