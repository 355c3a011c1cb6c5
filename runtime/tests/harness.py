"""LiteRT, by whichever name it is installed, with the runtime's delegate."""

import ctypes
import json
import os

import numpy as np

try:
    from ai_edge_litert import interpreter as litert
except ModuleNotFoundError:
    from tflite_runtime import interpreter as litert

LIBRARY = os.environ.get("BOPKIT_RUNTIME_LIBRARY")
"""A library to test in place of the one in the package `bopkit_runtime`, which then need not be there."""


def load_delegate(**options):
    """A delegate for LiteRT; the options are those of the C header."""
    if LIBRARY is None:
        import bopkit_runtime

        return bopkit_runtime.load_delegate(**options)
    return litert.load_delegate(LIBRARY, {name: str(value) for name, value in options.items()})


def available_isas():
    """Names of the instruction sets that the kernels can use on this machine."""
    if LIBRARY is None:
        import bopkit_runtime

        return list(bopkit_runtime.isas())
    library = ctypes.CDLL(LIBRARY)
    library.bopkit_runtime_isas.restype = ctypes.c_char_p
    return library.bopkit_runtime_isas().decode().split(",")


def describe(delegate):
    """The library's own account of what it runs for an interpreter that still exists."""
    library = delegate._library
    library.bopkit_runtime_describe.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.bopkit_runtime_describe.restype = ctypes.c_size_t
    pointer = delegate._get_native_delegate_pointer()
    size = library.bopkit_runtime_describe(pointer, None, 0)
    text = ctypes.create_string_buffer(size + 1)
    library.bopkit_runtime_describe(pointer, text, size + 1)
    return json.loads(text.value)


class Runner:
    """A model in LiteRT with a delegate; an LCE operator that it does not claim makes the constructor fail."""

    def __init__(self, delegate, flatbuffer, uses_reference_kernels=False):
        options = {}
        if uses_reference_kernels:
            options["experimental_op_resolver_type"] = litert.OpResolverType.BUILTIN_REF
        self._interpreter = litert.Interpreter(model_content=flatbuffer, experimental_delegates=[delegate], **options)
        self._interpreter.allocate_tensors()

    def __call__(self, feeds):
        """The outputs for inputs of the model's shapes, or of others that it is then resized to."""
        inputs = self._interpreter.get_input_details()
        assert len(inputs) == len(feeds)
        if any(tuple(each["shape"]) != feed.shape for each, feed in zip(inputs, feeds)):
            for each, feed in zip(inputs, feeds):
                self._interpreter.resize_tensor_input(each["index"], feed.shape)
            self._interpreter.allocate_tensors()
        for each, feed in zip(inputs, feeds):
            self._interpreter.set_tensor(each["index"], np.ascontiguousarray(feed))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(each["index"]) for each in self._interpreter.get_output_details()]
