"""Names that a Keras config may hold: those of stock Keras and larq that only compute.

`bopkit.artifacts.keras_config` holds a model file against these lists.
"""

from __future__ import annotations

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

# Of `bopkit.layers`.
OWN_CLASSES = frozenset({"AddToLastChannels", "BlurPool", "ChannelShift", "RPReLU"})

# Of `bopkit.artifacts.larq_zoo_objects`.
LARQ_ZOO_FUNCTIONS = frozenset(
    "blurpool_initializer clip_by_value_activation magnitude_aware_sign_unclipped xnor_weight_scale".split()
)

# Values, not objects: an array, a tuple, a shape.
DATA_CLASSES = frozenset({"TensorShape", "__ellipsis__", "__numpy__", "__tensor__", "__tuple__"})

CLASSES = (
    MODELS
    | KERAS_LAYERS
    | OP_LAYERS
    | LARQ_LAYERS
    | OWN_CLASSES
    | LARQ_QUANTIZERS
    | INITIALIZERS
    | REGULARIZERS
    | CONSTRAINTS
    | DATA_CLASSES
    | {"Policy", "function"}
    | {"PolicyV1", "DynamicLossScale", "FixedLossScale"}  # of TensorFlow 2.4: `old_keras_config` replaces them
)

NAMES = CLASSES | ACTIVATIONS | OP_FUNCTIONS | LARQ_ZOO_FUNCTIONS
"""Every string that Keras may turn into an object."""

# Keras imports the module that a config names, and an import runs code.
MODULES = frozenset(
    """
    builtins keras keras.activations keras.constraints keras.initializers keras.layers
    keras.layers.experimental keras.mixed_precision keras.models keras.regularizers
    keras.src.engine.functional keras.src.layers.core.tf_op_layer
    tf_keras.src.engine.functional tf_keras.src.layers.core.tf_op_layer
    bopkit.artifacts.larq_zoo_objects bopkit.layers
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
