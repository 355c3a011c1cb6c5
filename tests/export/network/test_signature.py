"""Networks of several inputs and outputs: each format has all, under their names, and none in place of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.artifact import EXPORT_RECORD
from bopkit.artifacts.keras_file import save_model
from bopkit.errors import BopkitError, UsageError
from bopkit.export import ExportOptions, export_model
from bopkit.export.inspection.diff import diff_in_process
from bopkit.export.inspection.report import inspect_in_process
from bopkit.export.network.signature import Signature, call
from bopkit.export.serving import saved_model
from bopkit.export.sources.subclassed import as_graph
from bopkit.export.tflite import inputs_and_outputs, schema
from bopkit.export.tflite.run import predict_flatbuffer
from bopkit.export.verification.verify import verify_artifacts
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")

INPUTS = ["right", "left", "input_1_speed"]  # the last is `1_speed` in Keras
OUTPUTS = ["zoom", "boxes", "map", "classes"]


@pytest.fixture(scope="module")
def twin(randomise: Callable[..., Any]) -> Any:
    """Two pictures and a vector, to two outputs of one shape, a map and probabilities; the names are not sorted."""
    import larq

    tf = import_tensorflow()
    keras = tf.keras.layers
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": larq.quantizers.NoOp(precision=1), "use_bias": False}

    nested_inputs = [tf.keras.Input((8, 8, 32)), tf.keras.Input((8, 8, 32))]
    x = larq.layers.QuantConv2D(32, 3, padding="same", pad_values=1, name="nested_conv", **binary)(nested_inputs[0])
    x = keras.BatchNormalization()(x)
    nested_outputs = [keras.Add()([x, nested_inputs[1]]), x]
    nested = tf.keras.Model(nested_inputs, nested_outputs, name="nested")

    right, left = tf.keras.Input((8, 8, 3), name="right"), tf.keras.Input((8, 8, 3), name="left")
    speed = tf.keras.Input((5,), name="1_speed")
    x, y = nested([keras.Conv2D(32, 3, padding="same")(right), keras.Conv2D(32, 1)(left)])
    x = larq.layers.QuantConv2D(32, 3, name="conv", **binary)(x)
    x = keras.BatchNormalization(name="map")(x)
    features = keras.Concatenate()([keras.Flatten()(x), keras.Flatten()(y), keras.Dense(32)(speed)])
    features = keras.BatchNormalization()(features)
    zoom = larq.layers.QuantDense(4, name="zoom", **binary)(features)
    boxes = larq.layers.QuantDense(4, name="boxes", **binary)(features)
    classes = keras.Softmax(name="classes")(keras.Dense(6)(keras.GlobalAveragePooling2D()(x)))
    return randomise(tf.keras.Model([right, left, speed], [zoom, boxes, x, classes]))


@pytest.fixture(scope="module")
def shown(twin: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs, all different, and what Keras answers."""
    generator = np.random.default_rng(1)
    inputs = [generator.uniform(-1, 1, (6, *each.shape)).astype(np.float32) for each in Signature.of_model(twin).inputs]
    return inputs, [each.numpy() for each in call(twin, inputs)]


@pytest.fixture(scope="module")
def exported(twin: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("twin")
    twin.save(folder / "twin.keras")
    return folder, export_model(folder / "twin.keras", options=ExportOptions(pictures=8))


def test_both_formats_answer_every_output_under_its_name(exported: tuple[Path, Any], shown: Any) -> None:
    folder, report = exported
    inputs, expected = shown
    served = import_tensorflow().saved_model.load(str(folder / "twin" / "1"))
    answer = saved_model.predict(served, dict(zip(INPUTS, inputs, strict=True)), 4)
    assert sorted(answer) == sorted(OUTPUTS)
    tf = import_tensorflow()
    for index, name in enumerate(INPUTS):
        others = [tf.constant(each) for each in inputs]
        others[index] = tf.repeat(others[index], 2, axis=1)
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} .* is not compatible with expected shape"):
            served.signatures["serving_default"](**dict(zip(INPUTS, others, strict=True)))
    for name, outputs, values in zip(
        OUTPUTS, predict_flatbuffer((folder / "twin.tflite").read_bytes(), inputs), expected, strict=True
    ):
        np.testing.assert_allclose(outputs, values, rtol=1e-4, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(answer[name], values, rtol=1e-4, atol=1e-4, err_msg=name)
    assert not np.allclose(expected[0], expected[1], atol=0.1)  # of one shape: places that were changed would show
    for artifact in report.artifacts:
        packed = [layer.name for layer in artifact.layers if layer.packed]
        assert sorted(packed) == ["boxes", "conv", "nested/nested_conv", "zoom"]
        assert [each.output for each in artifact.agreements] == 2 * OUTPUTS
        assert [each.top1 is None for each in artifact.agreements] == 2 * [True, True, True, False]
        assert all(each.within_tolerance == 1.0 for each in artifact.agreements)
    assert any("noise for input_1_speed" in note for note in report.notes)


def test_a_flatbuffer_tells_inputs_and_outputs_in_signature_metadata_and_record(
    exported: tuple[Path, Any],
) -> None:
    parsed = schema.parse((exported[0] / "twin.tflite").read_bytes())
    (graph,) = parsed.subgraphs
    places = [
        [list(indices).index(each[name]) for name in names]
        for indices, each, names in zip(
            (graph.inputs, graph.outputs), schema.signature_tensors(parsed), (INPUTS, OUTPUTS), strict=True
        )
    ]
    assert places == [[0, 1, 2], [0, 1, 2, 3]]
    entries = {each.name: bytes(parsed.buffers[each.buffer].data) for each in parsed.metadata}
    assert all(name.encode() in entries[b"TFLITE_METADATA"] for name in (*INPUTS, *OUTPUTS))
    record = json.loads(entries[EXPORT_RECORD.encode()])
    assert [each["name"] for each in record["inputs"]] == INPUTS
    assert [each["shape"] for each in record["outputs"]] == [[1, 4], [1, 4], [1, 6, 6, 32], [1, 6]]
    for path in ("twin.tflite", "twin", "twin.keras"):
        inspection = inspect_in_process(str(exported[0] / path))
        for kind, names in (("inputs", INPUTS), ("outputs", OUTPUTS)):
            listed = " ".join(inspection[kind])
            assert len(inspection[kind]) == len(names) and all(name.removeprefix("input_") in listed for name in names)


def test_outputs_in_each_others_place_are_refused(
    twin: Any, make_card: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the structure where their shapes differ, and by the values of a trained network where they do not."""

    def changed(first: int, second: int) -> None:
        def order_by_signature(model: Any, signature: Signature) -> None:
            outputs = list(signature.outputs)
            outputs[first], outputs[second] = outputs[second], outputs[first]
            ordered(model, Signature(signature.inputs, tuple(outputs)))
            one, other = outputs[first].name, outputs[second].name
            for entry in model.signatureDefs[0].outputs:
                name = entry.name.decode()
                entry.name = {one: other, other: one}.get(name, name).encode()

        monkeypatch.setattr(inputs_and_outputs, "order_by_signature", order_by_signature)

    ordered = inputs_and_outputs.order_by_signature
    save_model(twin, make_card(trained=True, input_shape=(8, 8, 3)), tmp_path / "twin.h5")
    for first, second, message in ((0, 1, "zoom: a value differs.*boxes: a value differs"), (2, 3, "outputs are")):
        changed(first, second)
        with pytest.raises(BopkitError, match=message):
            export_model(tmp_path / "twin.h5", options=ExportOptions(savedmodel=False, pictures=4))
    monkeypatch.setattr(inputs_and_outputs, "order_by_signature", ordered)
    export_model(tmp_path / "twin.h5", options=ExportOptions(savedmodel=False, pictures=4))


@pytest.mark.parametrize(
    ("form", "settings"),
    [("vector", {"float_weights": "int8"}), ("map", {}), ("same twice", {}), ("unused input", {}), ("dict", {})],
)
def test_networks_of_other_forms(form: str, settings: dict[str, Any], tmp_path: Path) -> None:
    tf = import_tensorflow()
    keras = tf.keras.layers
    vector, picture = tf.keras.Input((40,), name="vector"), tf.keras.Input((8, 8, 3), name="picture")
    pixels = keras.Conv2D(4, 3, name="pixels")(picture)
    row = keras.Dense(9, name="row")(vector)
    network = {
        "vector": lambda: tf.keras.Model(vector, row),
        "map": lambda: tf.keras.Model(picture, pixels),
        "same twice": lambda: tf.keras.Model(picture, [pixels, pixels, keras.Dropout(0.5)(pixels)]),
        "unused input": lambda: tf.keras.Model([vector, picture], row),
        "dict": lambda: tf.keras.Model({"b": vector, "a": picture}, {"d": row, "c": pixels}),
    }[form]()
    network.save(tmp_path / "net.keras")
    report = export_model(tmp_path / "net.keras", options=ExportOptions(pictures=4, **settings))
    decides = form == "vector"  # noise, where there are no pictures
    assert [each.real for each in report.artifacts[0].agreements][-1:] == [decides]
    if not settings:
        assert all(each.within_tolerance == 1.0 for artifact in report.artifacts for each in artifact.agreements)


def test_a_subclassed_network_keeps_its_inputs() -> None:
    tf = import_tensorflow()

    class Two(tf.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.on_picture, self.on_vector = tf.keras.layers.Conv2D(4, 8), tf.keras.layers.Dense(4, name="dense")

        def call(self, inputs: Any) -> Any:
            picture, vector = inputs
            return self.on_vector(vector), self.on_picture(picture)

    model = Two()
    values = [np.ones((1, 8, 8, 3), np.float32), np.ones((1, 5), np.float32)]
    expected = [each.numpy() for each in model(values)]
    graph, _ = as_graph(model, None)
    signature = Signature.of_model(graph)
    assert [(each.name, each.shape) for each in signature.inputs] == [("images_0", (8, 8, 3)), ("images_1", (5,))]
    for outputs, each in zip(call(graph, values), expected, strict=True):
        np.testing.assert_allclose(outputs, each, rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": "digits"},
        {"float_weights": "int8", "calibrate": "digits"},
        {"input_type": "uint8"},
        {"output": "logits"},
    ],
)
def test_options_without_a_use_are_named(settings: dict[str, Any], exported: tuple[Path, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--\w+.* is for a network that .* maps right, left, input_1_speed to zoom"):
        export_model(exported[0] / "twin.keras", tmp_path, ExportOptions(**settings))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("one_child")
def test_verify_compares_every_output_by_its_name(exported: tuple[Path, Any], twin: Any, tmp_path: Path) -> None:
    folder, _ = exported
    for first, second in (("twin.keras", "twin"), ("twin", "twin.tflite")):
        verification = verify_artifacts(folder / first, folder / second, pictures=4)
        assert verification.passed, verification.failures
        assert {each.output: each.within_tolerance for each in verification.model} == dict.fromkeys(OUTPUTS, 1.0)
        assert sum(match.second is not None and not match.different for match in verification.kernels) == 4
    changed = import_tensorflow().keras.models.clone_model(twin)
    changed.set_weights([-each if "boxes" in variable.name else each for variable, each in weights_of(twin)])
    changed.save(tmp_path / "changed.keras")
    verification = verify_artifacts(folder / "twin.tflite", tmp_path / "changed.keras", pictures=4)
    bits, scores = verification.failures  # of `zoom`, which has the same shape, and of no other
    assert "boxes/Conv2D: " in bits and "differ from boxes of" in bits
    assert scores.startswith("boxes: a value differs")


def weights_of(network: Any) -> list[tuple[Any, np.ndarray]]:
    return list(zip(network.weights, network.get_weights(), strict=True))


def test_verify_names_inputs_and_outputs_that_differ(exported: tuple[Path, Any], tmp_path: Path) -> None:
    tf = import_tensorflow()
    right, left = tf.keras.Input((8, 8, 3), name="right"), tf.keras.Input((8, 8, 3), name="left")
    tf.keras.Model([right, left], tf.keras.layers.Add()([right, left])).save(tmp_path / "sum.keras")
    takes, answers, *kernels = verify_artifacts(
        exported[0] / "twin.tflite", tmp_path / "sum.keras", pictures=2
    ).failures
    assert takes == (
        "the first takes right 8 x 8 x 3, left 8 x 8 x 3, input_1_speed 5, the second right 8 x 8 x 3, left 8 x 8 x 3"
    )
    assert "returns zoom 4, boxes 4, map 6 x 6 x 32, classes 6, the second 8 x 8 x 3" in answers
    assert len(kernels) == 4 and all("has no binary kernel" in each for each in kernels)
    with pytest.raises(UsageError, match="--dataset is for networks of one picture"):
        verify_artifacts(tmp_path / "sum.keras", tmp_path / "sum.keras", dataset="digits", pictures=2)


def test_diff_of_two_formats(exported: tuple[Path, Any]) -> None:
    difference = diff_in_process(*(str(exported[0] / path) for path in ("twin.keras", "twin.tflite")))
    assert [match["different"] for match in difference["kernels"]] == [0] * 4
    assert {change["what"] for change in difference["facts"]} == {"kind", "size_bytes", "inputs", "outputs"}
