"""Requests that the server sends to itself before it takes a version into service, one per signature.

TensorFlow Serving reads them from a TFRecord file of PredictionLog messages. Those messages are defined in the package
tensorflow-serving-api; they are written here as bytes, so that an export needs neither that package nor the version of
TensorFlow that it asks for. Field numbers: tensorflow_serving/apis/{prediction_log,predict,classification,input,model}
.proto.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.saved_model_check import PREDICT_BYTES
from bopkit.export.network.signature import SignatureTensor
from bopkit.export.serving.signatures import CLASSIFY, EXAMPLE_FEATURE
from bopkit.keras2 import import_tensorflow

TensorProto = Any  # TensorFlow is imported inside the functions

WARMUP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
"""The file, inside the version directory."""

GREY = 127
_VARINT_BITS = 7


def write_warmup_requests(path: Path, signatures: list[str], inputs: tuple[SignatureTensor, ...]) -> None:
    """Write one request a signature, each with one grey picture, or with zeros where all inputs are named.

    Args:
        path: The version directory.
        signatures: Names of its signatures, of `make_signatures`.
        inputs: Of the network; one picture where there is a signature besides `serving_default`.
    """
    tf = import_tensorflow()
    requests = {
        # A tensor whose values are all the same is stored as one value.
        "serving_default": lambda: {
            each.name: tf.make_tensor_proto(0.0, tf.float32, (1, *each.shape)) for each in inputs
        },
        PREDICT_BYTES: lambda: {"image_bytes": tf.make_tensor_proto([_grey_jpeg(inputs[0])])},
        "predict_uint8": lambda: {"images": tf.make_tensor_proto(GREY, tf.uint8, (1, *inputs[0].shape))},
    }
    with tf.io.TFRecordWriter(str(path / WARMUP_REQUESTS)) as writer:
        for signature in signatures:
            if signature == CLASSIFY:
                writer.write(_classify_log(_grey_jpeg(inputs[0])))
            else:
                writer.write(_predict_log(signature, requests[signature]()))


def _grey_jpeg(picture: SignatureTensor) -> bytes:
    return import_tensorflow().io.encode_jpeg(np.full(picture.shape, GREY, np.uint8)).numpy()


def _predict_log(signature: str, inputs: dict[str, TensorProto]) -> bytes:
    """PredictionLog.predict_log (6) . request (1): model_spec (1), inputs (2, a map)."""
    entries = [_field(1, name.encode()) + _field(2, each.SerializeToString()) for name, each in inputs.items()]
    return _field(6, _field(1, _model_spec(signature) + b"".join(_field(2, entry) for entry in entries)))


def _classify_log(encoded: bytes) -> bytes:
    """PredictionLog.classify_log (2) . request (1): model_spec (1), input (2) . example_list (1) . examples (1)."""
    tf = import_tensorflow()
    picture = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    example = tf.train.Example(features=tf.train.Features(feature={EXAMPLE_FEATURE: picture}))
    examples = _field(1, _field(1, example.SerializeToString()))
    return _field(2, _field(1, _model_spec(CLASSIFY) + _field(2, examples)))


def _model_spec(signature: str) -> bytes:
    """ModelSpec: signature_name (3); the server knows its own model's name."""
    return _field(1, _field(3, signature.encode()))


def _field(number: int, value: bytes) -> bytes:
    """A field of a protocol buffer that holds a string, bytes or a message."""
    length_delimited = 2
    return _varint(number << 3 | length_delimited) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = []
    while value >> _VARINT_BITS:
        groups.append(value & 127 | 128)
        value >>= _VARINT_BITS
    return bytes([*groups, value])
