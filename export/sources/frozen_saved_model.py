"""SavedModels of code without a Keras config: their graph of stock operations, frozen and converted as it is.

TensorFlow loads it only after `bopkit.artifacts.saved_model_check` has found that it does nothing but compute.

Imports TensorFlow at its top, as its layer derives from Keras': import it inside functions only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bopkit.artifacts import artifact
from bopkit.artifacts.keras_file import LoadedModel
from bopkit.artifacts.saved_model_check import SIGNATURE, check_saved_model, read_saved_model
from bopkit.errors import BopkitError, first_line
from bopkit.export.network.layers import LayerFacts
from bopkit.export.sources.freezing import freeze
from bopkit.export.sources.frozen_operations import inspect_operations
from bopkit.keras2 import import_tensorflow

tf: Any = import_tensorflow()

_NOTE = "The SavedModel holds code, not layers: its graph was frozen and converted as it is, to a flatbuffer only."


class FrozenGraphLayer(tf.keras.layers.Layer):
    """A frozen graph as one layer, in the place of a network's layers.

    Attributes:
        operations: What the export has to know of each operation with a kernel.
    """

    def __init__(self, function: Any, operations: list[LayerFacts], **settings: Any):
        super().__init__(**settings)
        self._function = function
        self.frozen_operations = operations

    def call(self, inputs: Any) -> Any:
        """Map float32 [n, H, W, C] to the graph's scores."""
        (outputs,) = self._function(inputs)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """What a copy in this process is made from; it cannot be saved."""
        return {**super().get_config(), "function": self._function, "operations": self.frozen_operations}


def load_frozen(path: Path) -> LoadedModel:
    """Load the graph behind `serving_default` as a network of one layer.

    Args:
        path: A version directory.

    Raises:
        BopkitError: It is damaged, has an operation that is not known to be safe, or does not map one float32
            picture to one output.
    """
    check_saved_model(path)
    if any(
        node.WhichOneof("kind") == "resource" for node in read_saved_model(path).meta_graphs[0].object_graph_def.nodes
    ):
        raise BopkitError(
            f"{path} is refused: its resources, e.g. packed kernels, cannot be frozen.",
            "Export the model that it was made from.",
        )
    try:
        loaded = tf.saved_model.load(str(path))
        function = loaded.signatures[SIGNATURE]
    except Exception as error:  # a damaged SavedModel can make TensorFlow raise anything
        raise BopkitError(
            f"{path} does not load: {first_line(error)[:200]}", "Copy it again, or save it again."
        ) from error
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1 or next(iter(inputs.values())).dtype != tf.float32:
        raise BopkitError(
            f"{SIGNATURE} of {path} maps {dict(inputs)} to {dict(outputs)}; an export needs one float32 picture in and "
            "one output.",
            "Save it again with `signatures=` of such a function.",
        )
    frozen = freeze(function)
    shape = next(iter(inputs.values())).shape
    pictures = tf.keras.Input(shape[1:], name="images")
    layer = FrozenGraphLayer(frozen.function, inspect_operations(frozen), name="graph")
    model = tf.keras.Model(pictures, layer(pictures))
    return LoadedModel(model, artifact.read_card(path), (_NOTE,))
