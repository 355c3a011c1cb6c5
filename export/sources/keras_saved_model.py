"""SavedModels of Keras: the network is rebuilt from the config that lies beside the graph.

A SavedModel's own graph runs any operation that TensorFlow has. The config that Keras keeps in it names layers,
and is checked like that of a model file; the graph is then neither loaded nor run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bopkit.artifacts import artifact
from bopkit.artifacts.custom_code import CustomCode
from bopkit.artifacts.keras_file import LoadedModel, safe_config
from bopkit.artifacts.limits import MAX_CONFIG_BYTES
from bopkit.artifacts.saved_model_check import read_message, read_saved_model
from bopkit.errors import BopkitError, first_line
from bopkit.keras2 import import_tensorflow
from bopkit.unfused_norms import unfuse_norms_of_rows

METADATA = "keras_metadata.pb"
"""Where Keras keeps its configs from TensorFlow 2.5 on; earlier they are inside `saved_model.pb`."""


class NoConfigError(BopkitError):
    """A SavedModel without a config that the network could be rebuilt from."""


def load_from_config(path: Path, custom_code: CustomCode) -> LoadedModel:
    """Build the network that a SavedModel's Keras config describes, and load its weights.

    Args:
        path: A version directory.
        custom_code: Code of the user's own that its config may name.

    Raises:
        NoConfigError: It was not saved by Keras, or from a subclassed network.
        BopkitError: It is damaged, or its config is refused.
    """
    tf = import_tensorflow()
    config, notes = safe_config(_root_config(path), path, custom_code)
    try:
        # Through JSON, as tuples are dictionaries in what Keras notes here.
        model = tf.keras.models.model_from_json(json.dumps(config), custom_objects=dict(custom_code.objects))
        # The checkpoint names variables by their place among the layers, and so do Keras' weights.
        status = model.load_weights(str(path / "variables" / "variables"))
        status.assert_existing_objects_matched()
        status.expect_partial()
    except (Exception, AssertionError) as error:  # a damaged file can make TensorFlow raise anything
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise BopkitError(f"{path} does not load: {reason}", "Copy it again, or save it again.") from error
    notes = [*notes, "Rebuilt from the SavedModel's Keras config."]
    return LoadedModel(unfuse_norms_of_rows(model), artifact.read_card(path), tuple(notes))


def _root_config(path: Path) -> dict[str, Any]:
    """The config of the whole network, as `{"class_name": ..., "config": ...}`."""
    try:
        metadata = _root_metadata(path)
    except BopkitError:
        raise
    except Exception as error:  # protobuf and json raise errors of their own
        raise BopkitError(f"{path} is not a complete SavedModel: {first_line(error)}", "Copy it again.") from error
    config = metadata.get("config") if isinstance(metadata, dict) else None
    if not isinstance(config, dict) or "layers" not in config:
        raise NoConfigError(
            f"{path} holds no config of a functional or sequential network.",
            "Give the weights with `--architecture my_package.my_network`.",
        )
    return {"class_name": metadata.get("class_name"), "config": config}


def _root_metadata(path: Path) -> Any:
    """What Keras noted about the outermost network; an empty dict where it noted nothing."""
    from tf_keras.protobuf import saved_metadata_pb2

    if (path / METADATA).is_file():
        nodes = saved_metadata_pb2.SavedMetadata.FromString(read_message(path / METADATA)).nodes
        texts = [node.metadata for node in nodes if node.node_path == "root"]
    else:
        graphs = [graph.object_graph_def.nodes for graph in read_saved_model(path).meta_graphs]
        texts = [nodes[0].user_object.metadata for nodes in graphs if nodes]
    texts = [text for text in texts if text.lstrip().startswith("{")]
    return json.loads(texts[0]) if texts and len(texts[0]) <= MAX_CONFIG_BYTES else {}
