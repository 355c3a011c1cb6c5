"""The LCE flatbuffer: rewritten, converted, and with the model card inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit import artifact
from bopkit.card import ModelCard
from bopkit.errors import BopkitError, first_line
from bopkit.export.layers import LayerFacts
from bopkit.export.rewrites import rewrite
from bopkit.export.spec import TFLITE
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions


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


def write_flatbuffer(
    model: Model, facts: list[LayerFacts], card: ModelCard | None, output_name: str, path: Path
) -> None:
    """Write an LCE flatbuffer for one picture at a time.

    Its input is `images`, float32 [1, H, W, C], and its output `output_name`, float32 [1, classes].

    Args:
        model: A Keras model that computes in float32.
        facts: `inspect_layers(model)`.
        card: Is embedded as metadata.
        output_name: Name of the scores, e.g. `probabilities`.
        path: The file to write; its folder is used for scratch files.
    """
    tf = import_tensorflow()
    lce = import_lce()

    def kernel_source(name: str, kernel: np.ndarray) -> Any:
        # A variable: the converter makes it a constant, and a graph that holds kernels is limited to 2 GB.
        variable = tf.Variable(kernel, trainable=False)
        kernels.append(variable)
        return variable.read_value

    kernels: list[Any] = []
    network = rewrite(model, facts, TFLITE, kernel_source)
    module = tf.Module()
    module.weights = [*network.variables, *kernels]
    images = tf.TensorSpec([TFLITE.batch_size, *network.input_shape[1:]], tf.float32, name="images")
    signature = tf.function(lambda images: {output_name: network(images, training=False)}, input_signature=[images])
    scratch = path.with_suffix(".savedmodel")
    tf.saved_model.save(module, str(scratch), signatures={"serving_default": signature})
    try:
        flatbuffer = lce.convert_saved_model(scratch)
    except Exception as error:  # the converter raises plain Exception, with the log of its passes
        raise BopkitError(
            f"LCE's converter refused the network: {first_line(error)}",
            "Type --savedmodel to export the other format alone.",
        ) from error
    path.write_bytes(
        artifact.embed_card(flatbuffer, card) if card is not None else artifact.seal_flatbuffer(flatbuffer)
    )


def predict_flatbuffer(flatbuffer: bytes, pictures: np.ndarray) -> list[np.ndarray]:
    """Outputs of a flatbuffer that bopkit has just written (a damaged one can crash the process).

    Args:
        flatbuffer: The file's content.
        pictures: float32 [n, H, W, C].

    Returns:
        One array [n, ...] an output.
    """
    import_lce()
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    # The indirect kernels are 2 to 6 times faster on x86-64 than the default ones, with the same results.
    outputs = Interpreter(flatbuffer, use_indirect_bgemm=True).predict(pictures)
    return outputs if isinstance(outputs, list) else [outputs]
