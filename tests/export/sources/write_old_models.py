"""Write the model files that the tests load as TensorFlow 2.4 to 2.15 saved them.

Runs under an old TensorFlow, in an environment of its own, and needs larq and nothing of bopkit:

    python3.8 -m venv old && old/bin/pip install tensorflow-cpu==2.4.4 larq==0.10.* 'protobuf<3.20'
    old/bin/python tests/export/sources/write_old_models.py tests/export/old_models

For each network it writes the files that this version can write, and its scores on fixed pictures. The tests take
`binary`, `zoo` and `sequential` as files, and `code` as a SavedModel.
"""

import json
import pathlib
import sys

import larq as lq
import numpy as np
import tensorflow as tf
from tensorflow.python.training.saving.saveable_object import SaveableObject, SaveSpec

SHAPE = (8, 8, 3)
FORMATS = ("h5", "keras")  # `.keras` from TensorFlow 2.12 on


def binary():
    """Layers and quantizers of larq, an op on tensors, a nested network and a BN with training settings."""
    layers = tf.keras.layers
    inner_inputs = tf.keras.Input((3, 3, 8))
    inner = tf.keras.Model(inner_inputs, layers.MaxPool2D(2)(layers.BatchNormalization()(inner_inputs)), name="inner")
    inputs = tf.keras.Input(SHAPE, name="pictures")
    x = lq.layers.QuantConv2D(
        8, 3, padding="same", pad_values=1, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False
    )(inputs)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = lq.layers.QuantConv2D(
        8,
        3,
        strides=2,
        input_quantizer=lq.quantizers.SteSign(clip_value=1.25),
        kernel_quantizer=lq.quantizers.MagnitudeAwareSign(),
        kernel_constraint="weight_clip",
    )(x)
    x = layers.LeakyReLU(0.2)(x * 2.0 + 1.0)
    x = layers.Flatten()(inner(x))
    x = lq.layers.QuantDense(16, input_quantizer="approx_sign", kernel_quantizer=lq.quantizers.DoReFa(k_bit=3))(x)
    x = layers.Dropout(0.5)(layers.LayerNormalization()(x))
    return tf.keras.Model(inputs, layers.Dense(5, activation="softmax")(x))


def zoo():
    """Stock layers whose configs have changed over the years."""
    layers = tf.keras.layers
    preprocessing = layers.experimental.preprocessing if not hasattr(layers, "Rescaling") else layers
    inputs = tf.keras.Input(SHAPE)
    x = preprocessing.Rescaling(1 / 2, offset=0.1)(inputs)
    x = preprocessing.RandomFlip("horizontal")(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.SeparableConv2D(6, 3, padding="same")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1)(x)
    x = layers.LocallyConnected2D(3, 3)(x)
    x = layers.experimental.SyncBatchNormalization()(x)
    x = layers.ReLU(max_value=6.0, negative_slope=0.1)(layers.PReLU(shared_axes=[1, 2])(x))
    x = layers.GlobalAveragePooling2D()(layers.UpSampling2D(2, interpolation="bilinear")(x))
    x = layers.Reshape((1, -1))(x)
    x = layers.Concatenate(axis=-1)([layers.Bidirectional(layers.LSTM(3))(x), layers.GRU(2)(x)])
    return tf.keras.Model(inputs, layers.Dense(5, activation="softmax")(x))


def sequential():
    """A sequential network whose convolution has a dtype policy."""
    mixed_precision = tf.keras.mixed_precision
    policy = getattr(mixed_precision, "experimental", mixed_precision).Policy("float32")
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.InputLayer(SHAPE),
            layers.Conv2D(4, 3, activation="relu", dtype=policy),
            layers.BatchNormalization(),
            layers.GlobalMaxPooling2D(),
            layers.Dense(5, activation="softmax"),
        ]
    )


class Saveable(SaveableObject):
    """A variable that lies in a checkpoint with the other sign."""

    def __init__(self, variable, name):
        spec = SaveSpec(lambda: -variable.read_value(), "", name, variable.dtype, variable.device)
        super().__init__(variable, [spec], name)

    def restore(self, restored_tensors, restored_shapes):
        """Assign what the checkpoint holds."""
        return self.op.assign(-restored_tensors[0])


class Negated(tf.Module):
    """Is saved and restored by functions that the SavedModel holds ("saveable objects")."""

    def __init__(self, variable):
        super().__init__()
        self.variable = variable

    def _map_resources(self, options=None):
        copies, handles = self.variable._map_resources(options)
        copies[self] = Negated(copies[self.variable])
        return copies, handles

    def _gather_saveables_for_checkpoint(self):
        return {"negated": lambda name="negated": Saveable(self.variable, name)}


def save_code(path, pictures):
    """A SavedModel of code; its scores."""
    generator = np.random.RandomState(1)
    module = tf.Module()
    module.stem = tf.Variable(generator.normal(size=(1, 1, 3, 32)).astype("float32"))
    module.kernel = tf.Variable(generator.choice([-1.0, 1.0], (3, 3, 32, 32)).astype("float32"))
    module.head = Negated(tf.Variable(generator.normal(size=(32, 5)).astype("float32")))

    def serve(images):
        signs = tf.sign(tf.sign(tf.nn.conv2d(images, module.stem, 1, "VALID")) + 0.1)
        pooled = tf.reduce_mean(tf.nn.conv2d(signs, module.kernel, 1, "VALID"), axis=[1, 2])
        return tf.matmul(pooled, module.head.variable)

    module.serve = tf.function(serve, input_signature=[tf.TensorSpec((None,) + SHAPE, name="images")])
    tf.saved_model.save(module, str(path), signatures=module.serve)
    return module.serve(pictures)


def randomise(model, generator):
    """Plausible random values for all weights."""
    model.set_weights(
        [
            generator.uniform(0.5, 1.5, weight.shape) if weight.ndim == 1 else generator.uniform(-1, 1, weight.shape)
            for weight in model.get_weights()
        ]
    )


def write_scores(path, scores):
    """What the tests compare with."""
    path.write_text(json.dumps(scores.numpy().tolist()))


def main(folder):
    """Write all files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    version = ".".join(tf.__version__.split(".")[:2])
    pictures = np.random.RandomState(0).uniform(-1, 1, (4,) + SHAPE).astype("float32")
    for build in (binary, zoo, sequential):
        tf.keras.backend.clear_session()
        model = build()
        randomise(model, np.random.RandomState(1))
        model.compile("adam", "mse")
        for suffix in FORMATS:
            if suffix == "h5" or int(version.split(".")[1]) >= 12:  # 2.12 writes HDF5 into .keras files
                model.save(str(folder / f"{build.__name__}_{version}.{suffix}"))
        if build is binary:
            model.save(str(folder / f"{build.__name__}_{version}"), save_format="tf")
        write_scores(folder / f"{build.__name__}_{version}.json", model(pictures, training=False))
    write_scores(folder / f"code_{version}.json", save_code(folder / f"code_{version}", pictures))


main(pathlib.Path(sys.argv[1]))
