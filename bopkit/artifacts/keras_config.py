"""What a model file's config may name: an allow-list that is walked before Keras sees the config.

Building a Keras model from its config calls whatever the config names: a `Lambda` runs marshalled bytecode, a
`TFOpLambda` any public TensorFlow symbol (`io.write_file` writes its file while the model is being built), a
`module` key imports any Python module. So each class, module and name must be on the lists below.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError

MODELS = frozenset({"Functional", "Model", "Sequential"})

# Stock layers that only compute. Left out on purpose: Lambda, TensorFlowOpLayer, ClassMethod, InstanceMethod
# and InstanceProperty run what the file names; the lookup and text layers read the vocabulary file it names.
KERAS_LAYERS = frozenset(
    """
    InputLayer Activation ActivityRegularization Dense EinsumDense Embedding Flatten Identity Masking Permute
    RepeatVector Reshape
    AlphaDropout Dropout GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D SpatialDropout3D
    ELU LeakyReLU PReLU ReLU Softmax ThresholdedReLU
    Add Average Concatenate Dot Maximum Minimum Multiply Subtract
    AdditiveAttention Attention MultiHeadAttention
    Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose DepthwiseConv1D DepthwiseConv2D
    LocallyConnected1D LocallyConnected2D SeparableConv1D SeparableConv2D
    AveragePooling1D AveragePooling2D AveragePooling3D MaxPooling1D MaxPooling2D MaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
    BatchNormalization BatchNormalizationV1 BatchNormalizationV2 SyncBatchNormalization GroupNormalization
    LayerNormalization Normalization UnitNormalization
    CenterCrop RandomBrightness RandomContrast RandomCrop RandomFlip RandomHeight RandomRotation
    RandomTranslation RandomWidth RandomZoom Rescaling Resizing
    Bidirectional TimeDistributed ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU GRUCell LSTM LSTMCell RNN SimpleRNN
    SimpleRNNCell StackedRNNCells
    """.split()
)

# What `x * 2 + 1` and `x[:, 1:]` save as. They call a TensorFlow symbol by name: see OP_FUNCTIONS.
OP_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda"})

LARQ_LAYERS = frozenset(
    """
    QuantConv1D QuantConv2D QuantConv2DTranspose QuantConv3D QuantConv3DTranspose QuantDense
    QuantDepthwiseConv2D QuantLocallyConnected1D QuantLocallyConnected2D QuantSeparableConv1D
    QuantSeparableConv2D
    """.split()
)

LARQ_QUANTIZERS = frozenset(
    """
    ApproxSign DoReFa DoReFaQuantizer MagnitudeAwareSign NoOp NoOpQuantizer SteHeaviside SteSign SteTern
    SwishSign FlipRatio
    approx_sign dorefa_quantizer magnitude_aware_sign ste_heaviside ste_sign ste_tern swish_sign
    flip_ratio
    """.split()
)

INITIALIZERS = frozenset(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal
    RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform normal one
    ones orthogonal random_normal random_uniform truncated_normal uniform variance_scaling zero zeros
    """.split()
)

REGULARIZERS = frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer", "l1", "l1_l2", "l2", "orthogonal_regularizer"})

CONSTRAINTS = frozenset(
    """
    MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm WeightClip
    max_norm maxnorm min_max_norm non_neg nonneg radial_constraint unit_norm unitnorm weight_clip
    """.split()
)

ACTIVATIONS = frozenset(
    """
    elu exponential gelu hard_sigmoid hard_tanh leaky_relu leaky_tanh linear log_softmax mish relu relu6 selu
    sigmoid silu softmax softplus softsign swish tanh
    """.split()
)

# Pure mathematics and reshaping, under the names that Keras gives them in a TFOpLambda. Nothing here reads,
# writes, prints, calls back into Python or keeps state.
OP_FUNCTIONS = frozenset(
    """
    __operators__.add __operators__.eq __operators__.getitem __operators__.ne compat.v1.floor_div
    math.abs math.add math.add_n math.ceil math.cos math.divide_no_nan math.erf math.exp math.floor
    math.floordiv math.floormod math.log math.maximum math.minimum math.multiply math.negative math.pow
    math.reciprocal math.round math.rsqrt math.sigmoid math.sign math.sin math.softplus math.sqrt math.square
    math.squared_difference math.subtract math.tanh math.truediv
    math.greater math.greater_equal math.less math.less_equal math.logical_and math.logical_not
    math.logical_or
    math.argmax math.argmin math.cumsum math.l2_normalize math.reduce_max math.reduce_mean math.reduce_min
    math.reduce_prod math.reduce_std math.reduce_sum math.reduce_variance math.top_k
    nn.crelu nn.elu nn.gelu nn.leaky_relu nn.log_softmax nn.relu nn.relu6 nn.selu nn.silu nn.softmax
    nn.softsign
    nn.avg_pool nn.avg_pool2d nn.batch_normalization nn.bias_add nn.conv2d nn.depth_to_space
    nn.depthwise_conv2d nn.local_response_normalization nn.max_pool nn.max_pool2d nn.space_to_depth
    compat.v1.nn.conv2d compat.v1.nn.crelu compat.v1.nn.depthwise_conv2d
    einsum linalg.matmul norm tensordot compat.v1.norm
    broadcast_to cast clip_by_value concat expand_dims gather identity one_hot ones_like pad rank reshape
    reverse roll shape size slice split squeeze stack stop_gradient tile transpose unstack where zeros_like
    compat.v1.gather compat.v1.pad compat.v1.shape compat.v1.size compat.v1.squeeze compat.v1.transpose
    image.per_image_standardization image.resize
    quantization.fake_quant_with_min_max_args quantization.fake_quant_with_min_max_vars
    """.split()
)

# Values, not objects: an array, a tuple, a shape.
DATA_CLASSES = frozenset({"TensorShape", "__ellipsis__", "__numpy__", "__tensor__", "__tuple__"})

CLASSES = (
    MODELS
    | KERAS_LAYERS
    | OP_LAYERS
    | LARQ_LAYERS
    | LARQ_QUANTIZERS
    | INITIALIZERS
    | REGULARIZERS
    | CONSTRAINTS
    | DATA_CLASSES
    | {"Policy", "function"}
    | {"PolicyV1", "DynamicLossScale", "FixedLossScale"}  # of TensorFlow 2.4: `old_keras_config` replaces them
)

NAMES = CLASSES | ACTIVATIONS | OP_FUNCTIONS
"""Every string that Keras may turn into an object."""

# Keras imports the module that a config names, and an import runs code.
MODULES = frozenset(
    """
    builtins keras keras.activations keras.constraints keras.initializers keras.layers
    keras.layers.experimental keras.mixed_precision keras.models keras.regularizers
    keras.src.engine.functional keras.src.layers.core.tf_op_layer
    tf_keras.src.engine.functional tf_keras.src.layers.core.tf_op_layer
    larq.activations larq.constraints larq.layers larq.metrics larq.quantizers
    """.split()
)

# Keys whose strings Keras takes as they are; a string under any other key has to be in NAMES.
TEXT_KEYS = frozenset(
    """
    name dtype values_dtype output_dtype rng_type keras_version backend
    inbound_nodes input_layers output_layers
    data_format padding interpolation fill_mode mode merge_mode distribution score_mode equation bias_axes
    """.split()
)

MAX_DEPTH = 100
"""Levels of nesting; a nested model adds about six."""

_COMPOSITE_CONSTANT = "_COMPOSITE_TYPE"  # marks a constant that Keras decodes from JSON inside the JSON

_HINT = (
    "A model file can run code while it loads, so bopkit loads stock Keras and larq layers only:"
    " rebuild the model from those and save it again, or answer for code of your own with"
    " `bopkit export --custom MODULE`."
)
_LAMBDA_HINT = (
    "The bytecode of a Lambda never runs, not even with --custom: write it as a layer class in a module of your own,"
    " or export the weights with `--architecture my_package.my_network`."
)


@dataclasses.dataclass(frozen=True)
class Vouched:
    """Code that the user answers for, which a config may name besides the allow-list.

    Attributes:
        objects: Classes and functions by every name that a config may give them.
        modules: Names of the modules that define them.
    """

    objects: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    modules: frozenset[str] = frozenset()


NOTHING = Vouched()
"""No code but that of Keras and larq."""


@dataclasses.dataclass(frozen=True)
class _Source:
    """The file that is checked, and what it may name besides the allow-list."""

    path: Path
    vouched: Vouched

    def refusal(self, what: str, hint: str = _HINT) -> BopkitError:
        return BopkitError(f"{self.path} is refused: {what}.", hint)

    def unsafe(self, layer: str, key: str, value: object) -> BopkitError:
        kind = "function" if key == "config" else key
        hint = _LAMBDA_HINT if value in ("Lambda", "__lambda__") else _HINT
        return self.refusal(f"{kind} {_quoted(value)} in layer {_quoted(layer)} is not known to be safe", hint)


def check_config(config: object, path: Path, vouched: Vouched = NOTHING) -> None:
    """Refuse a model config that names anything outside the allow-list and what the user answers for.

    Args:
        config: The config of a whole model, as decoded from JSON.
        path: The file that it came from, for the message.
        vouched: What the user answers for.

    Raises:
        BopkitError: The config names something else or is nested too deeply; the message names the layer.
    """
    source = _Source(path, vouched)
    class_name = config.get("class_name") if isinstance(config, dict) else None
    if not isinstance(class_name, str) or class_name not in MODELS | vouched.objects.keys():
        raise source.refusal(f"{_quoted(class_name)} is not a functional or sequential model")
    _check(config, "model", "", False, 0, source)


def _check(value: object, key: str, layer: str, is_text: bool, depth: int, source: _Source) -> None:
    """Check one value of the config and all below it; `layer` is the path of names that leads to it."""
    if depth > MAX_DEPTH:
        raise source.refusal(f"its config is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        is_object = "class_name" in value
        if is_object:
            layer = f"{layer}/{_label(value, key)}".lstrip("/")
            _check_class(value, layer, source)
            is_text = is_text and value["class_name"] in DATA_CLASSES
        for name, item in value.items():
            if not (is_object and name in ("class_name", "module", "registered_name")):
                _check(item, name, layer, is_text or name in TEXT_KEYS, depth + 1, source)
        if is_object and value["class_name"] in MODELS:
            _check_edges(value.get("config"), layer, source)
    elif isinstance(value, list):
        for item in value:
            _check(item, key, layer, is_text, depth + 1, source)
    elif isinstance(value, str):
        known = value in NAMES or value in source.vouched.objects
        if value == _COMPOSITE_CONSTANT or not (is_text or known):
            raise source.unsafe(layer, key, value)


def _check_class(value: dict[str, object], layer: str, source: _Source) -> None:
    """Check the three keys by which Keras finds a class or a function."""
    class_name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    own = source.vouched
    if not isinstance(class_name, str) or class_name not in CLASSES | own.objects.keys():
        raise source.unsafe(layer, "class", class_name)
    if module is not None and not (isinstance(module, str) and module in MODULES | own.modules):
        raise source.unsafe(layer, "module", module)
    if registered is not None and not (isinstance(registered, str) and registered in NAMES | own.objects.keys()):
        raise source.unsafe(layer, "registered name", registered)
    if class_name in OP_LAYERS:
        settings = value.get("config")
        function = settings.get("function") if isinstance(settings, dict) else None
        if not isinstance(function, str) or function not in OP_FUNCTIONS:
            raise source.unsafe(layer, "function", function)


def _check_edges(settings: object, model: str, source: _Source) -> None:
    """Refuse a graph with a cycle or an edge from nowhere: Keras would wait for its end for ever."""
    layers = settings.get("layers") if isinstance(settings, dict) else None
    layers = [each for each in layers if isinstance(each, dict)] if isinstance(layers, list) else []
    calls = {str(each.get("name")): _listed(each.get("inbound_nodes")) for each in layers}
    built = {str(each.get("name")): _calls_at_start(each.get("class_name")) for each in layers}

    def is_ready(call: object) -> bool:
        return all(
            layer not in built or isinstance(index, int) and 0 <= index < built[layer]
            for layer, index in _sources(call)
        )

    waiting = {name: list(each) for name, each in calls.items() if each}
    while waiting:
        progress = False
        for name, each in waiting.items():  # saved in order, so that one round is enough as a rule
            if is_ready(each[0]):
                each.pop(0)
                built[name] += 1
                progress = True
        if not progress:
            raise source.refusal(f"model {_quoted(model)} has a layer without an input")
        waiting = {name: each for name, each in waiting.items() if each}


def _calls_at_start(class_name: object) -> float:
    """How many calls of a layer exist before the graph is put together, at most."""
    if class_name == "InputLayer":
        return math.inf  # Keras takes any number for its only one
    return 1 if class_name in MODELS else 0  # a model may have been called on inputs of its own


def _sources(call: object) -> Iterator[tuple[str, object]]:
    """Layer and number of the call in each input: `[layer, call, output]`, maybe with keyword arguments."""
    if isinstance(call, list) and len(call) in (3, 4) and isinstance(call[0], str):
        yield call[0], call[1]
        call = call[3:]
    for item in call.values() if isinstance(call, dict) else _listed(call):
        yield from _sources(item)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _label(value: dict[str, object], key: str) -> str:
    """The name that the object's own config gives it, else the key that it stands under."""
    settings = value.get("config")
    name = settings.get("name") if isinstance(settings, dict) else None
    return name if isinstance(name, str) else key


def _quoted(value: object) -> str:
    """`value` for a one-line message: the file is not trusted, so its text is escaped and cut."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
