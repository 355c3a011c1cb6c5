"""The signatures of a TensorFlow Serving directory: what a client may send, and what the server answers.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from typing import Any

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.saved_model_check import PREDICT_BYTES
from bopkit.data import get_preprocessing
from bopkit.data.picture_formats import JPEG_START, PNG_START
from bopkit.export.network.signature import Signature, SignatureTensor
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import TOP_K

Tensor = Any  # TensorFlow is imported inside the functions
Function = Any

EXAMPLE_FEATURE = "image/encoded"
"""Feature of a tf.Example that holds the encoded picture, as in TensorFlow's own ImageNet records."""

CLASSIFY = "classify"
"""The signature that the server's classify API calls: it must take `inputs`, and answer these two keys and no other."""

_REFUSED = (
    ("BMP", 0, b"BM"),
    ("GIF", 0, b"GIF8"),
    ("WebP", 8, b"WEBP"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("HEIC or AVIF", 4, b"ftyp"),
    ("base64, not decoded", 0, b"/9j/"),
    ("base64, not decoded", 0, b"iVBORw0K"),
)
"""Names of other formats, and of JPEG and PNG sent as text, each with the place and the bytes by which it is known."""

UNREADABLE = {"image_bytes": "no whole JPEG or PNG", "images": "no pixels"}
"""What is wrong with a picture that cannot be prepared, by the input that brings it."""


def make_signatures(predict: Function, signature: Signature, card: ModelCard | None) -> dict[str, Function]:
    """The signatures of a network, by name; each takes any number N of examples.

    - `serving_default`: every input to every output, float32 [N, ...]; of a classifier `images`, [N, H, W, C], to e.g.
      `probabilities`, [N, classes].

    And for one picture in and one row of scores out, with a card that names the preprocessing:

    - `predict_bytes`: `image_bytes`, string [N] of JPEG or PNG, to the same, and to the best `classes`, string [N, k],
      with their `scores`, float32 [N, k].
    - `predict_uint8`: `images`, uint8 [N, h, w, C] of any size, to what `predict_bytes` answers.
    - `classify`: `inputs`, string [N] of tf.Example with the picture in `EXAMPLE_FEATURE`, to `classes` and `scores`.

    A picture that cannot be read is an InvalidArgumentError that tells its place in the batch, and inputs of another
    size, or of other channels, are one that tells the shape that is taken.

    Args:
        predict: tf.function from all inputs to a list of all outputs, with an input signature.
        signature: Of the network: names and shapes of these inputs and outputs.
        card: Names the preprocessing and the classes.
    """
    tf = import_tensorflow()

    @tf.function(input_signature=predict.input_signature, autograph=False)
    def serving_default(*inputs: Tensor) -> dict[str, Tensor]:
        return signature.outputs_by_name(predict(*map(_checked, inputs)))

    if card is None or not card.preprocessing or not (signature.takes_picture and signature.answers_scores):
        return {"serving_default": serving_default}

    input_shape: Any = signature.inputs[0].shape
    # Each of these functions is stored once, however many signatures call it.
    prepare_bytes = _prepare(card, input_shape, tf.TensorSpec([None], tf.string, name="image_bytes"))
    prepare_uint8 = _prepare(card, input_shape, tf.TensorSpec([None, None, None, input_shape[2]], tf.uint8, "images"))
    rank = _rank(card, *signature.outputs)

    @tf.function(input_signature=prepare_bytes.input_signature, autograph=False)
    def predict_bytes(image_bytes: Tensor) -> dict[str, Tensor]:
        (scores,) = predict(prepare_bytes(image_bytes))
        return {**signature.outputs_by_name([scores]), **rank(scores)}

    @tf.function(input_signature=prepare_uint8.input_signature, autograph=False)
    def predict_uint8(images: Tensor) -> dict[str, Tensor]:
        (scores,) = predict(prepare_uint8(_checked(images)))
        return {**signature.outputs_by_name([scores]), **rank(scores)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def classify(inputs: Tensor) -> dict[str, Tensor]:
        example = tf.io.parse_example(inputs, {EXAMPLE_FEATURE: tf.io.FixedLenFeature([], tf.string)})
        return rank(*predict(prepare_bytes(example[EXAMPLE_FEATURE])))

    return {
        "serving_default": serving_default,
        PREDICT_BYTES: predict_bytes,
        "predict_uint8": predict_uint8,
        CLASSIFY: classify,
    }


def _checked(tensor: Tensor) -> Tensor:
    """The tensor, once it has the shape that the signature states: servers compare types, and no shapes.

    An assertion about `tf.shape` would be computed from the stated shape when the graph is optimised, and never fail.
    """
    return import_tensorflow().ensure_shape(tensor, tensor.shape)


def _prepare(card: ModelCard, input_shape: tuple[int, ...], pictures_spec: Any) -> Function:
    """The tf.function from pictures as they are sent to the network's input, float32 [N, H, W, C]."""
    tf = import_tensorflow()
    evaluate = get_preprocessing(card.preprocessing, input_shape).evaluate  # type: ignore[arg-type]

    @tf.autograph.experimental.do_not_convert
    def prepare_one(place: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        return place, evaluate(picture)

    @tf.function(input_signature=[pictures_spec], autograph=False)
    def prepare(pictures: Tensor) -> Tensor:
        names = tf.constant("")
        if pictures.dtype == tf.string:
            is_taken, names = _formats(pictures)
            pictures = tf.where(is_taken, pictures, "")  # which no decoder reads
        # A decoder's error does not tell which picture it met. A dataset can leave out what fails, so that the places
        # of the others show the gaps; it decodes on several threads too.
        dataset = tf.data.Dataset.from_tensor_slices(pictures).enumerate()
        dataset = dataset.map(prepare_one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).ignore_errors()
        # In front goes an empty picture: of a dataset without elements no batch can be had.
        first = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), tf.zeros(input_shape)))
        count = tf.shape(pictures, tf.int64)[0]
        places, images = first.concatenate(dataset).batch(count + 1).get_single_element()
        wanted = tf.range(count)
        unreadable = tf.sets.difference([wanted], [places[1:]]).values
        numbered = tf.strings.as_string(wanted) + names
        listed = tf.strings.reduce_join(tf.gather(numbered, unreadable), separator=", ")
        problem = tf.strings.join([f"{UNREADABLE[pictures_spec.name]} in picture ", listed, ", counted from 0"])
        with tf.control_dependencies([tf.debugging.Assert(tf.size(unreadable) == 0, [problem])]):
            return tf.identity(images[1:])

    return prepare


def _formats(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Whether encoded pictures, string [N], are of a format that is taken, bool [N], and ` (NAME)` of any other."""
    tf = import_tensorflow()
    heads = tf.strings.substr(pictures, 0, 12) + bytes(12)  # long enough for each place
    # Of others than these two the network sees what viewers do not show, or nothing.
    known = (*(("", 0, start) for start in (JPEG_START, PNG_START)), *_REFUSED)
    names, places, starts = zip(*known, strict=True)
    is_known = tf.strings.substr(heads[:, None], [places], [[len(start) for start in starts]]) == [starts]
    is_taken = tf.reduce_any(is_known[:, :2], 1)
    brackets = [name and f" ({name})" for name in names]
    return is_taken, tf.strings.reduce_join(tf.where(is_known, [brackets], ""), 1)


def _rank(card: ModelCard, scores: SignatureTensor) -> Function:
    """The tf.function from scores, float32 [N, classes], to the best `classes` and their `scores`."""
    tf = import_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec([None, *scores.shape], tf.float32)], autograph=False)
    def rank(outputs: Tensor) -> dict[str, Tensor]:
        scores, indices = tf.math.top_k(outputs, min(TOP_K, outputs.shape[-1]))
        classes = tf.gather(card.class_names, indices) if card.class_names else tf.strings.as_string(indices)
        return {"classes": classes, "scores": scores}

    return rank
