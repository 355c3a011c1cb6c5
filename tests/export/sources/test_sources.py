"""Where networks come from: old files, code that the user vouches for, weights alone, subclasses, SavedModels."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from edited_models import with_config

from bopkit.artifacts.keras_file import load_model, open_model
from bopkit.artifacts.saved_model_check import PREDICT_BYTES, check_saved_model, read_saved_model
from bopkit.benchmark.runtimes.runtime import make_runtime
from bopkit.errors import BopkitError, UsageError
from bopkit.export import ExportOptions, export_model
from bopkit.export.inspection import diff_artifacts, inspect_artifact
from bopkit.export.reference import compute_reference
from bopkit.export.tflite.run import predict_flatbuffer
from bopkit.export.verification.verify import verify_artifacts
from bopkit.keras2 import import_tensorflow
from bopkit.progress import silent
from bopkit.training.initialise import init_model

OLD_MODELS = Path(__file__).with_name("old_models")
PICTURES = np.random.RandomState(0).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
OWN_MODULE = "own_package.code"
OWN_CODE = '''
import larq as lq
import tensorflow as tf
from os import system

from bopkit.architecture import Architecture
from bopkit.hparams import HParams


class Scale(tf.keras.layers.Layer):
    """A layer with a weight of its own."""

    def build(self, shape):
        self.operations = ["multiply"]  # whatever its author calls an attribute
        self.factor = self.add_weight(name="factor", shape=[shape[-1]], initializer="random_normal")

    def call(self, x):
        return x * self.factor


@tf.keras.utils.register_keras_serializable(package="own")
class TwoSign(lq.quantizers.SteSign):
    """A quantizer of the user's own."""


def bend(x):
    return tf.tanh(x) + x


class Block(tf.keras.layers.Layer):
    """A residual block, as most code outside Keras' own writes them."""

    def __init__(self, filters):
        super().__init__()
        self.filters = filters

    def build(self, shape):
        self.convolution = lq.layers.QuantConv2D(
            self.filters, 3, padding="same", use_bias=False, input_quantizer="ste_sign",
            kernel_quantizer="magnitude_aware_sign", kernel_constraint="weight_clip",
        )
        self.norm = tf.keras.layers.BatchNormalization()

    def call(self, x, training=None):
        return self.norm(self.convolution(x), training=training) + x


class Subclassed(tf.keras.Model):
    def __init__(self, filters, classes):
        super().__init__()
        self.stem = tf.keras.layers.Conv2D(filters, 3, padding="same")
        self.blocks = [Block(filters), Block(filters)]
        self.scale = Scale()
        self.dropout = tf.keras.layers.Dropout(0.5)
        self.head = tf.keras.layers.Dense(classes, activation="softmax")

    def call(self, x, training=None):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, training) if block is self.blocks[0] else block(x=x, training=training)
        return self.head(self.dropout(tf.reduce_mean(self.scale(x), axis=[1, 2]), training=training))


class Settings(HParams):
    filters: int = 8


ARCHITECTURE = Architecture(
    name="subclassed",
    title="Subclassed",
    paper="",
    input_shape=(8, 8, 3),
    classes=5,
    build=lambda hparams, input_shape, classes: Subclassed(hparams.filters, classes),
    sets={"only": Settings(epochs=1, batch_size=1, learning_rate=0.1)},
)
'''


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's own in the working directory, imported."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "code.py").write_text(OWN_CODE)
    (tmp_path / "own_package" / "nothing.py").write_text("import os")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import_tensorflow()
    yield importlib.import_module(OWN_MODULE)
    for name in ("own_package", OWN_MODULE, "own_package.nothing"):
        sys.modules.pop(name, None)


def options(**settings: Any) -> ExportOptions:
    return ExportOptions(**{"savedmodel": False, "pictures": 4, **settings})


def packed(report: Any) -> dict[str, bool]:
    return {each.name: each.packed for each in report.artifacts[0].layers if each.kernel_shape}


@pytest.mark.integration
@pytest.mark.parametrize("name", sorted(each.name for each in OLD_MODELS.iterdir() if each.suffix in (".h5", ".keras")))
def test_files_of_old_versions_load_and_compute_the_same(name: str) -> None:
    loaded = open_model(OLD_MODELS / name)
    expected = json.loads((OLD_MODELS / name).with_suffix(".json").read_text())
    np.testing.assert_allclose(loaded.model(PICTURES, training=False), expected, atol=1e-6)
    assert loaded.notes == ()


def test_the_trial_format_of_tensorflow_2_12_is_named(small_network: Any, tmp_path: Path) -> None:
    small_network.save(tmp_path / "net.keras")
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file.create_group("_layer_checkpoint_dependencies")
    with zipfile.ZipFile(tmp_path / "net.keras") as source, zipfile.ZipFile(tmp_path / "old.keras", "w") as target:
        for name in ("metadata.json", "config.json"):
            target.writestr(name, source.read(name))
        target.write(tmp_path / "model.weights.h5", "model.weights.h5")
    with pytest.raises(BopkitError, match=r"experimental layout of TensorFlow 2.12.*model\.h5"):
        load_model(tmp_path / "old.keras")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_settings_of_the_past_are_dropped_and_named(suffix: str, tmp_path: Path) -> None:
    import larq

    tf = import_tensorflow()
    layers = [
        tf.keras.Input((8, 8, 3)),
        larq.layers.QuantConv2D(4, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", name="conv"),
        tf.keras.layers.GlobalAveragePooling2D(),
    ]
    model = tf.keras.Sequential(layers)
    model.save(tmp_path / f"net{suffix}")

    def age(config: dict[str, Any]) -> None:
        settings = next(each for each in config["config"]["layers"] if each["config"]["name"] == "conv")["config"]
        settings |= {"metrics": [], "experimental_autocast": True, "tilt": None, "lean": 3}
        settings["kernel_quantizer"]["config"]["bits"] = [2]

    loaded = open_model(with_config(tmp_path / f"net{suffix}", tmp_path, age))
    dropped = [note[: note.index(" is dropped")] for note in loaded.notes]
    assert "bits=[2]" in dropped[0] and dropped[1:] == ["Layer conv: lean=3"]
    np.testing.assert_array_equal(loaded.model(PICTURES), model(PICTURES))


def test_a_mixed_policy_of_tensorflow_2_4(tmp_path: Path) -> None:
    tf = import_tensorflow()
    layers = [tf.keras.Input((8, 8, 3)), tf.keras.layers.Flatten(), tf.keras.layers.Dense(2, name="top")]
    tf.keras.Sequential(layers).save(tmp_path / "net.h5")
    scale = {"class_name": "DynamicLossScale", "config": {"initial_loss_scale": 32768.0}}

    def age(config: dict[str, Any]) -> None:
        policy = {"class_name": "PolicyV1", "config": {"name": "mixed_bfloat16", "loss_scale": scale}}
        config["config"]["layers"][-1]["config"]["dtype"] = policy

    loaded = open_model(with_config(tmp_path / "net.h5", tmp_path, age))
    assert loaded.model.get_layer("top").compute_dtype == "bfloat16" and loaded.notes == ()


def save_own(own_code: Any, path: Path) -> Any:
    """A network with a layer, a quantizer and a function of the user's own."""
    import larq

    tf = import_tensorflow()
    inputs = tf.keras.Input((8, 8, 3))
    x = own_code.Scale(name="scale")(inputs)
    x = larq.layers.QuantConv2D(
        8,
        3,
        kernel_quantizer=own_code.TwoSign(),
        kernel_constraint="weight_clip",
        activation=own_code.bend,
        name="conv",
    )(x)
    model = tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(x))
    model.save(path)
    return model


@pytest.mark.integration
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_code_of_the_users_own_loads_when_she_vouches_for_it(suffix: str, own_code: Any, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    model = save_own(own_code, path)
    with pytest.raises(
        BopkitError, match=r"'Scale' in layer 'model\w*/scale' is not known to be safe.*--custom MODULE"
    ):
        export_model(path, options=options())
    reference, _ = compute_reference(path, options(), silent, import_custom_code(OWN_MODULE))
    np.testing.assert_array_equal(reference.model(PICTURES), model(PICTURES))
    report = export_model(path, tmp_path / "out", options(savedmodel=True, custom=(OWN_MODULE,)))
    assert [each.agreements[0].within_tolerance for each in report.artifacts] == [1.0, 1.0]
    with pytest.raises(BopkitError, match="not known to be safe"):  # the next export starts with nothing
        export_model(path, options=options())


@pytest.mark.integration
def test_code_of_the_users_own_is_read_when_she_vouches_for_it(own_code: Any, tmp_path: Path) -> None:
    """In the processes that read files, which search the working directory too."""
    save_own(own_code, tmp_path / "net.keras")
    assert {"Scale", "QuantConv2D"} == {
        each.type for each in inspect_artifact(tmp_path / "net.keras", [OWN_MODULE]).layers
    }
    assert diff_artifacts(tmp_path / "net.keras", tmp_path / "net.keras", [OWN_MODULE]).same
    assert verify_artifacts(tmp_path / "net.keras", tmp_path / "net.keras", pictures=2, custom=[OWN_MODULE]).passed
    with pytest.raises(BopkitError, match="'Scale' .* is not known to be safe.*--custom MODULE"):
        inspect_artifact(tmp_path / "net.keras")
    with pytest.raises(UsageError, match="No module 'unheard_of' for --custom"):
        verify_artifacts(tmp_path / "net.keras", tmp_path / "net.keras", pictures=2, custom=["unheard_of"])


def import_custom_code(*modules: str) -> Any:
    from bopkit.artifacts.custom_code import import_custom_code as imported

    return imported(modules)


def test_code_may_be_named_by_its_file(own_code: Any, tmp_path: Path) -> None:
    shutil.copy("own_package/code.py", "own_package/layers_by_file.py")
    for file in ("own_package/layers_by_file.py", str(tmp_path / "own_package" / "layers_by_file.py")):
        custom_code = import_custom_code(file)
        assert {"Scale", "TwoSign", "own>TwoSign", "bend", "Block"} <= custom_code.objects.keys()
        assert {"layers_by_file", "own_package.layers_by_file"} <= custom_code.modules
    with pytest.raises(UsageError, match=r"There is no file nosuch\.py for --custom"):
        import_custom_code("nosuch.py")


def test_only_what_her_module_defines_may_be_named(own_code: Any) -> None:
    custom_code = import_custom_code(OWN_MODULE)
    assert {"Scale", "TwoSign", "own>TwoSign", "bend", "Block"} <= custom_code.objects.keys()
    assert not {"system", "Architecture", "tf", "lq"} & custom_code.objects.keys()
    with pytest.raises(UsageError, match="No module 'unheard_of'"):
        import_custom_code("unheard_of")
    with pytest.raises(UsageError, match="'own_package.nothing' defines no public class"):
        import_custom_code("own_package.nothing")


def test_a_lambda_never_runs(own_code: Any, tmp_path: Path) -> None:
    tf = import_tensorflow()
    inputs = tf.keras.Input((8, 8, 3))
    outputs = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.layers.Lambda(own_code.bend, name="bent")(inputs))
    tf.keras.Model(inputs, outputs).save(tmp_path / "net.h5")
    with pytest.raises(BopkitError, match="'Lambda' in layer '.*bent'.*never runs, not even with --custom"):
        export_model(tmp_path / "net.h5", options=options(custom=(OWN_MODULE,)))


@pytest.mark.integration
@pytest.mark.parametrize(
    "save", ["save:net.h5", "save_weights:net.h5", "save_weights:net.weights.h5", "save:net.keras"]
)
def test_weights_with_the_name_of_their_architecture(save: str, tmp_path: Path) -> None:
    how, name = save.split(":")
    init_model("tiny.network", tmp_path / "init.h5", input_shape=(16, 16, 3), classes=4, hparams={"filters": 8})
    model = load_model(tmp_path / "init.h5")
    getattr(model, how)(tmp_path / name)
    of_tiny = {"architecture": "tiny.network", "input_shape": (16, 16, 3), "classes": 4}
    chosen = options(**of_tiny, hparams={"filters": 8})
    reference, _ = compute_reference(tmp_path / name, chosen, silent)
    pictures = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_array_equal(reference.model(pictures), model(pictures))
    with pytest.raises(BopkitError, match="weights of another network.*--hparams"):
        compute_reference(tmp_path / name, options(**of_tiny, hparams={"filters": 16}), silent)


def test_settings_of_an_architecture_need_its_name() -> None:
    for settings in ({"hparams": {"a": 1}}, {"classes": 3}, {"input_shape": (8, 8, 3)}, {"hparams_set": "bop"}):
        with pytest.raises(UsageError, match="--architecture NAME"):
            options(**settings)


@pytest.mark.integration
def test_a_subclassed_network_with_its_weights(own_code: Any, tmp_path: Path) -> None:
    tf = import_tensorflow()
    model = own_code.Subclassed(8, 5)
    expected = model(PICTURES)
    model.save_weights(tmp_path / "net.h5")
    chosen = options(architecture=OWN_MODULE, savedmodel=True)
    reference, notes = compute_reference(tmp_path / "net.h5", chosen, silent)
    np.testing.assert_array_equal(tf.function(reference.model)(PICTURES), tf.function(model)(PICTURES))
    np.testing.assert_allclose(reference.model(PICTURES), expected, atol=1e-6)
    assert any("subclassed" in note for note in notes)
    report = export_model(tmp_path / "net.h5", options=chosen)
    binary = [each.name for each in report.artifacts[0].layers if each.type == "QuantConv2D"]
    assert len(binary) == 2 and all(packed(report)[name] for name in binary)
    assert [each.agreements[0].top1 for each in report.artifacts] == [1.0, 1.0]


@pytest.mark.integration
def test_a_saved_model_of_code_is_converted_as_a_graph(own_code: Any, tmp_path: Path) -> None:
    model = own_code.Subclassed(32, 5)
    model(PICTURES)
    model.save(tmp_path / "net" / "3", save_format="tf")
    report = export_model(tmp_path / "net" / "3", options=ExportOptions(pictures=4))
    (tflite,) = report.artifacts
    assert Path(tflite.path) == tmp_path / "net.tflite" and tflite.agreements[0].top1 == 1.0
    assert [each.packed for each in tflite.layers] == [False, True, True, False]
    with pytest.raises(UsageError, match="--tflite"):
        export_model(tmp_path / "net", options=ExportOptions(tflite=False))


@pytest.mark.integration
def test_a_saved_model_of_layers_is_rebuilt(network: Any, tmp_path: Path) -> None:
    network.save(tmp_path / "net", save_format="tf")
    reference, notes = compute_reference(tmp_path / "net", options(), silent)
    pictures = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype(np.float32)
    np.testing.assert_array_equal(reference.model(pictures), network(pictures))
    assert "Rebuilt from the SavedModel's Keras config." in notes
    metadata = tmp_path / "net" / "keras_metadata.pb"
    metadata.write_bytes(metadata.read_bytes()[:-50])
    with pytest.raises(BopkitError, match="not a complete SavedModel"):
        export_model(tmp_path / "net", options=options())


def hostile_graphs() -> dict[str, Callable[[Any, str], Any]]:
    """What a graph could do besides computing, by the name of its operation."""
    tf = import_tensorflow()
    return {
        "WriteFile": lambda x, target: tf.io.write_file(target, "x"),
        "ReadFile": lambda x, target: tf.io.read_file("/etc/passwd"),
        "EagerPyFunc": lambda x, target: tf.py_function(print, [x], []),
        "PrintV2": lambda x, target: tf.raw_ops.PrintV2(input="x", output_stream=f"file://{target}"),
        "SaveV2": lambda x, target: tf.raw_ops.SaveV2(
            prefix=target, tensor_names=["x"], shape_and_slices=[""], tensors=[x]
        ),
    }


@pytest.mark.parametrize("operation", ["WriteFile", "ReadFile", "EagerPyFunc", "PrintV2", "SaveV2"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_graph_that_does_more_than_compute_is_refused(operation: str, nested: bool, tmp_path: Path) -> None:
    tf = import_tensorflow()
    act = hostile_graphs()[operation]
    target = str(tmp_path / "target")

    def evil(x: Any) -> Any:
        done = act(x, target)
        with tf.control_dependencies([done] if done is not None else []):
            return tf.reduce_mean(x, axis=[1, 2])

    inner = tf.function(evil) if nested else evil
    module = tf.Module()
    module.serve = tf.function(lambda x: inner(x), input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    tf.saved_model.save(module, str(tmp_path / "net"), signatures=module.serve)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BopkitError, match=f"operation '{operation}' is not known to be safe"):
        export_model(tmp_path / "net", options=options())
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def savedmodel_runtime(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runtime in a process where TensorFlow has its threads already."""
    monkeypatch.setattr("bopkit.benchmark.runtimes.saved_model.start_tensorflow", lambda threads: import_tensorflow())
    return make_runtime("savedmodel", 1)


def save_with_evil(path: Path, target: Path) -> Any:
    """A SavedModel with a variable and a function, behind no signature, that writes a file; its message."""
    tf = import_tensorflow()
    module = tf.Module()
    module.weights = tf.Variable(tf.ones([3, 5]))
    pictures = tf.TensorSpec([None, 8, 8, 3])
    module.serve = tf.function(
        lambda x: tf.reduce_mean(x, axis=[1, 2]) @ module.weights.read_value(), input_signature=[pictures]
    )

    def evil(name: Any) -> list[dict[str, Any]]:
        tf.io.write_file(str(target), "x")
        return [{"name": tf.constant("w"), "slice_spec": tf.constant(""), "tensor": tf.constant(0.0)}]

    module.evil = tf.function(evil, input_signature=[tf.TensorSpec([], tf.string)])
    tf.saved_model.save(module, str(path), signatures=module.serve)
    return read_saved_model(path)


def as_saver(kind: str, function: str) -> Callable[[Any, int], None]:
    def edit(graph: Any, evil: int) -> None:
        nodes = graph.object_graph_def.nodes
        node = next(each for each in nodes if each.WhichOneof("kind") == kind)
        harmless = next(each.node_id for each in nodes[0].children if each.local_name == "serve")
        saver = node.saveable_objects["X"]
        saver.save_function = saver.restore_function = harmless
        setattr(saver, function, evil)

    return edit


def as_method(graph: Any, evil: int) -> None:
    next(
        each for each in graph.object_graph_def.nodes[0].children if each.node_id == evil
    ).local_name = "_gather_saveables_for_checkpoint"


def as_set_up(graph: Any, evil: int) -> None:
    resource = graph.object_graph_def.nodes.add()
    resource.resource.device = ""
    resource.children.add(node_id=evil, local_name="_create_resource")
    graph.object_graph_def.nodes[0].children.add(node_id=len(graph.object_graph_def.nodes) - 1, local_name="kernel")


def as_operation(graph: Any, evil: int) -> None:
    """TensorFlow calls a function of the SavedModel where an operation has its name."""
    library = graph.graph_def.library.function
    next(each for each in library if "_evil_" in each.signature.name).signature.name = "Mean"


HIDING_PLACES = {
    "a variable's save function": as_saver("variable", "save_function"),
    "an object's save function": as_saver("user_object", "save_function"),
    "an object's restore function": as_saver("user_object", "restore_function"),
    "a method of TensorFlow's": as_method,
    "the set-up of a resource": as_set_up,
    "the name of an operation": as_operation,
}


@pytest.mark.parametrize("hiding_place", HIDING_PLACES)
def test_no_function_of_a_saved_model_runs_unchecked(
    hiding_place: str, savedmodel_runtime: Any, tmp_path: Path
) -> None:
    saved = save_with_evil(tmp_path / "net", tmp_path / "target")
    check_saved_model(tmp_path / "net")
    (graph,) = saved.meta_graphs
    (evil,) = [each.node_id for each in graph.object_graph_def.nodes[0].children if each.local_name == "evil"]
    HIDING_PLACES[hiding_place](graph, evil)
    (tmp_path / "net" / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(BopkitError, match="is not known to be safe"):
        export_model(tmp_path / "net", options=options())
    with pytest.raises(BopkitError, match="is not known to be safe"):
        savedmodel_runtime.load(tmp_path / "net")
    assert not (tmp_path / "target").exists()


def test_the_signature_of_encoded_pictures_is_checked_where_it_is_called(tmp_path: Path) -> None:
    saved = save_with_evil(tmp_path / "net", tmp_path / "target")
    (graph,) = saved.meta_graphs
    nodes = graph.object_graph_def.nodes
    named = {each.local_name: each.node_id for each in nodes[0].children}
    nodes[named["signatures"]].children.add(node_id=named["evil"], local_name=PREDICT_BYTES)
    (tmp_path / "net" / "saved_model.pb").write_bytes(saved.SerializeToString())
    check_saved_model(tmp_path / "net")
    with pytest.raises(BopkitError, match="is not known to be safe"):
        check_saved_model(tmp_path / "net", decodes=True)
    assert not (tmp_path / "target").exists()


@pytest.mark.integration
def test_the_set_up_of_packed_kernels_is_checked_and_runs(savedmodel_runtime: Any, tmp_path: Path) -> None:
    init_model("tiny.network", tmp_path / "init.h5", input_shape=(16, 16, 3), classes=4, hparams={"filters": 8})
    export_model(tmp_path / "init.h5", options=ExportOptions(tflite=False, pictures=4))
    savedmodel_runtime.load(tmp_path / "init" / "1")
    assert savedmodel_runtime.predict(np.zeros((2, 16, 16, 3), np.float32)).shape == (2, 4)
    card = tmp_path / "init" / "1" / "variables" / "variables.index"
    card.write_bytes(card.read_bytes()[:-1])
    with pytest.raises(BopkitError, match="another checksum"):
        export_model(tmp_path / "init", tmp_path / "out", options())


def test_saveable_objects_of_tensorflow_2_4_convert(tmp_path: Path) -> None:
    """Functions of the file save and restore it: they compute, and TensorFlow runs them on loading."""
    source = OLD_MODELS / "code_2.4"
    nodes = read_saved_model(source).meta_graphs[0].object_graph_def.nodes
    assert any(node.saveable_objects for node in nodes)
    (tflite,) = export_model(source, tmp_path, options()).artifacts
    assert [each.packed for each in tflite.layers] == [False, True, False]
    (scores,) = predict_flatbuffer(Path(tflite.path).read_bytes(), PICTURES)
    np.testing.assert_allclose(scores, json.loads(Path(f"{source}.json").read_text()), rtol=1e-4, atol=1e-4)


def test_a_damaged_object_graph_is_named(tmp_path: Path) -> None:
    saved = save_with_evil(tmp_path / "net", tmp_path / "target")
    saved.meta_graphs[0].object_graph_def.nodes[0].children[0].node_id = 10_000
    del saved.meta_graphs[0].object_graph_def.nodes[3:]
    (tmp_path / "net" / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(BopkitError, match="not a complete SavedModel"):
        export_model(tmp_path / "net", options=options())


SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "sign(sign(x) + 0.1)": lambda sign, x: sign(sign(x) + 0.1),
    "sign(0.1 + sign(x))": lambda sign, x: sign(0.1 + sign(x)),
    "sign(Add(sign(x), 0.1))": lambda sign, x: sign(import_tensorflow().raw_ops.Add(x=sign(x), y=0.1)),
}
OTHER_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "sign(x)": lambda sign, x: sign(x),
    "sign(sign(x) + 2)": lambda sign, x: sign(sign(x) + 2.0),
    "sign(sign(x) + 0)": lambda sign, x: sign(sign(x) + 0.0),
    "sign(sign(x) + -0.1)": lambda sign, x: sign(sign(x) + (-0.1)),
    "sign(Add(sign(x), -0.1))": lambda sign, x: sign(import_tensorflow().raw_ops.Add(x=sign(x), y=-0.1)),
    "sign(sign(x) - 0.1)": lambda sign, x: sign(sign(x) - 0.1),
    "sign(sign(x) - 2)": lambda sign, x: sign(sign(x) - 2.0),
    "sign(0.1 - sign(x))": lambda sign, x: sign(0.1 - sign(x)),
    "sign(sign(x) + x)": lambda sign, x: sign(sign(x) + x),
    "sign(sign(x) - (-x))": lambda sign, x: sign(sign(x) - (-x)),
    "sign(reshape(sign(x)) - 1)": lambda sign, x: sign(import_tensorflow().reshape(sign(x), [-1, 8, 8, 32]) + -1.0),
    "sign(sign(x + 0.5) + sign(x - 0.5))": lambda sign, x: sign(sign(x + 0.5) + sign(x - 0.5)),
}


def save_convolution(path: Path, quantizer: Callable[[Any, Any], Any], groups: int = 1) -> None:
    """A SavedModel of a binary convolution."""
    tf = import_tensorflow()
    bits = np.random.default_rng(0).integers(2, size=(3, 3, 32 // groups, 32))
    kernel = tf.constant(bits * 2.0 - 1.0, tf.float32)
    stem = tf.constant(np.random.default_rng(1).normal(size=(1, 1, 3, 32)), tf.float32)

    def serve(x: Any) -> Any:
        signs = quantizer(tf.sign, tf.nn.relu(tf.nn.conv2d(x, stem, 1, "VALID")))  # zeros are frequent
        return tf.reduce_mean(tf.nn.conv2d(signs, kernel, 1, "VALID"), axis=[1, 2])

    module = tf.Module()
    module.serve = tf.function(serve, input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    tf.saved_model.save(module, str(path), signatures=module.serve)


@pytest.mark.parametrize("formula", SIGNS)
def test_a_sign_in_a_graph_is_packed(formula: str, tmp_path: Path) -> None:
    save_convolution(tmp_path / "net", SIGNS[formula])
    (tflite,) = export_model(tmp_path / "net", options=options()).artifacts
    assert tflite.layers[-1].packed and tflite.agreements[0].within_tolerance == 1.0


@pytest.mark.integration
@pytest.mark.parametrize("formula", OTHER_SIGNS)
def test_another_sign_in_a_graph_stays_float_and_exact(formula: str, tmp_path: Path) -> None:
    save_convolution(tmp_path / "net", OTHER_SIGNS[formula])
    (tflite,) = export_model(tmp_path / "net", options=options()).artifacts
    assert (tflite.layers[-1].packed, tflite.layers[-1].reason) == (False, "input is not a plain sign")
    assert [each.within_tolerance for each in tflite.agreements] == [1.0, 1.0]


def test_another_sign_among_layers_stays_float_and_exact(randomise: Callable[..., Any], tmp_path: Path) -> None:
    import larq

    tf = import_tensorflow()
    inputs = tf.keras.Input((8, 8, 3))
    x = tf.keras.layers.Conv2D(32, 1, name="stem")(inputs)
    kernel = larq.quantizers.NoOp(precision=1)
    x = larq.layers.QuantConv2D(8, 3, kernel_quantizer=kernel, name="binary")(tf.sign(tf.sign(x) + x / 2))
    randomise(tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(x))).save(tmp_path / "net.h5")
    (tflite,) = export_model(tmp_path / "net.h5", options=options()).artifacts
    assert [each.packed for each in tflite.layers] == [False, False]
    assert [each.within_tolerance for each in tflite.agreements] == [1.0, 1.0]


def test_groups_that_lce_cannot_pack_stay_float_in_a_graph(tmp_path: Path) -> None:
    save_convolution(tmp_path / "net", SIGNS["sign(sign(x) + 0.1)"], groups=2)
    layer = export_model(tmp_path / "net", options=options()).artifacts[0].layers[-1]
    assert not layer.packed and "32 channels" in layer.reason


@pytest.mark.integration
def test_a_saved_model_never_gets_a_version_inside_it(
    small_network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_network.save(tmp_path / "net.v1.5", save_format="tf")
    monkeypatch.chdir(tmp_path / "net.v1.5")
    with pytest.raises(UsageError, match="is itself a SavedModel"):
        export_model(".", options=ExportOptions(pictures=4))
    assert export_model(".", options=options()).artifacts[0].path == str(tmp_path / "net.v1.5.tflite")


def test_set_up_of_a_saved_model_is_never_run(tmp_path: Path) -> None:
    """TensorFlow would run the initializer of a table while it loads."""
    tf = import_tensorflow()
    (tmp_path / "words").write_text("a\nb\n")
    module = tf.Module()
    source = tf.lookup.TextFileInitializer(
        str(tmp_path / "words"),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    module.table = tf.lookup.StaticHashTable(source, 0)
    module.serve = tf.function(
        lambda x: tf.reduce_mean(x, axis=[1, 2]), input_signature=[tf.TensorSpec([None, 8, 8, 3])]
    )
    tf.saved_model.save(module, str(tmp_path / "net"), signatures=module.serve)
    with pytest.raises(BopkitError, match="is refused: its (resource|asset)"):
        export_model(tmp_path / "net", options=options())


@pytest.mark.integration
def test_a_run_directory_stands_for_its_model(small_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    with pytest.raises(BopkitError, match="has no model.h5 yet"):
        export_model(run, options=options())
    (run / "model.h5").write_bytes(small_file.read_bytes())
    (run / "config.json").unlink()  # a run of which no more was kept
    assert export_model(run, options=options()).artifacts[0].path == str(run / "model.tflite")
