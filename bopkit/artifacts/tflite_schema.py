"""Numbers of TensorFlow Lite's `schema.fbs`: fields by their positions in the tables, element types and operators."""

from __future__ import annotations

import functools

IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of every `.tflite` file."""

SCHEMA_VERSION = 3

# Tables by field.
VERSION, OPERATOR_CODES, SUBGRAPHS, DESCRIPTION, BUFFERS, _, METADATA, SIGNATURES = range(8)
MODEL_FIELDS = 8
METADATA_NAME, METADATA_BUFFER = 0, 1
BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE = 0, 1, 2
CODE_OLD, CODE_CUSTOM, _, CODE = range(4)
GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS, GRAPH_NAME = range(5)
TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION, TENSOR_VARIABLE = range(6)
TENSOR_SPARSITY = 6
SCALE, ZERO_POINT, QUANTIZED_DIMENSION = 2, 3, 6
OPERATOR_CODE, OPERATOR_INPUTS, OPERATOR_OUTPUTS, _, OPERATOR_OPTIONS, OPERATOR_CUSTOM = range(6)
SIGNATURE_INPUTS, SIGNATURE_OUTPUTS, SIGNATURE_KEY, _, SIGNATURE_GRAPH = range(5)
MAP_NAME, MAP_TENSOR = 0, 1

CUSTOM = 32
"""Code of every operator that TensorFlow Lite does not have, LCE's among them."""

# Element types: name, and size in bits; None where the buffer's size does not follow from the shape.
TYPES: dict[int, tuple[str, int | None]] = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    5: ("string", None),
    6: ("bool", 8),
    7: ("int16", 16),
    8: ("complex64", 64),
    9: ("int8", 8),
    10: ("float64", 64),
    11: ("complex128", 128),
    12: ("uint64", 64),
    13: ("resource", None),
    14: ("variant", None),
    15: ("uint32", 32),
    16: ("uint16", 16),
    17: ("int4", 4),
    18: ("bfloat16", 16),
    19: ("int2", 2),
    20: ("uint4", 4),
}


@functools.cache
def builtin_names() -> dict[int, str]:
    """Names of the operators that a network is likely to hold, by code."""
    return {int(code): name for code, name in (each.split("=") for each in _BUILTIN.split())}


_BUILTIN = """
0=ADD 1=AVERAGE_POOL_2D 2=CONCATENATION 3=CONV_2D 4=DEPTHWISE_CONV_2D 5=DEPTH_TO_SPACE 6=DEQUANTIZE
7=EMBEDDING_LOOKUP 8=FLOOR 9=FULLY_CONNECTED 11=L2_NORMALIZATION 12=L2_POOL_2D 13=LOCAL_RESPONSE_NORMALIZATION
14=LOGISTIC 16=LSTM 17=MAX_POOL_2D 18=MUL 19=RELU 20=RELU_N1_TO_1 21=RELU6 22=RESHAPE 23=RESIZE_BILINEAR 25=SOFTMAX
26=SPACE_TO_DEPTH 28=TANH 34=PAD 36=GATHER 37=BATCH_TO_SPACE_ND 38=SPACE_TO_BATCH_ND 39=TRANSPOSE 40=MEAN 41=SUB
42=DIV 43=SQUEEZE 45=STRIDED_SLICE 47=EXP 49=SPLIT 50=LOG_SOFTMAX 53=CAST 54=PRELU 55=MAXIMUM 56=ARG_MAX 57=MINIMUM
58=LESS 59=NEG 60=PADV2 61=GREATER 64=SELECT 65=SLICE 67=TRANSPOSE_CONV 70=EXPAND_DIMS 74=SUM 75=SQRT 76=RSQRT
77=SHAPE 78=POW 80=REDUCE_PROD 81=REDUCE_MAX 82=PACK 86=LOGICAL_AND 88=UNPACK 89=REDUCE_MIN 92=SQUARE 94=FILL
97=RESIZE_NEAREST_NEIGHBOR 98=LEAKY_RELU 99=SQUARED_DIFFERENCE 100=MIRROR_PAD 101=ABS 102=SPLIT_V 104=CEIL
105=REVERSE_V2 114=QUANTIZE 117=HARD_SWISH 123=SELECT_V2 126=BATCH_MATMUL 130=BROADCAST_TO 150=GELU 158=SIGN
"""
