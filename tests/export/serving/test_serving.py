"""docs/serving.md and what the server reads, against a stand-in for TensorFlow Serving (`model_server`)."""

import base64
import io
import json
import re
import struct
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from google.protobuf import text_format

from bopkit import ExportOptions, export_model
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.data import get_preprocessing
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

tf = import_tensorflow()

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "serving.md").read_text()
DOCKER = ROOT / "docs" / "docker"
CLASSES = ("tabby", "tiger cat", "lynx", "cougar", "leopard", "jaguar", "lion")
SIGNATURES = {"serving_default", "predict_bytes", "predict_uint8", "classify"}


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder `birealnet/` of a small network that takes the pictures of the guide."""
    import larq

    folder = tmp_path_factory.mktemp("served")
    inputs = tf.keras.Input((224, 224, 3))
    x = tf.keras.layers.AveragePooling2D(8)(inputs)
    x = larq.layers.QuantConv2D(len(CLASSES), 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip")(x)
    outputs = tf.keras.layers.Softmax()(tf.keras.layers.GlobalAveragePooling2D()(x))
    card = ModelCard("small", (224, 224, 3), (-2.1179, 2.64), "imagenet", class_names=CLASSES)
    tf.keras.utils.set_random_seed(0)
    save_model(tf.keras.Model(inputs, outputs), card, folder / "birealnet.h5")
    export_model(folder / "birealnet.h5", options=ExportOptions(tflite=False, pictures=4))
    return folder / "birealnet"


@pytest.fixture(scope="module")
def server(exported):
    from model_server import ModelServer  # imports TensorFlow: after bopkit

    return ModelServer(exported / "1", "birealnet")


@pytest.fixture(scope="module")
def cat():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    return tf.io.encode_jpeg(pixels).numpy()


@pytest.fixture(scope="module")
def expected(server, cat):
    """Probabilities of the cat, float32 [classes]."""
    picture = get_preprocessing("imagenet", (224, 224, 3)).evaluate(tf.constant(cat))
    body = {"instances": [picture.numpy().tolist()]}
    (answer,) = server.post("http://host/v1/models/birealnet:predict", json.dumps(body))["predictions"]
    return np.float32(answer)


def commands():
    """Every shell command of the guide that asks the server something."""
    text = "\n".join(code_blocks("bash")).replace("\\\n", " ").replace("|\n", "| ")
    return [line.strip() for line in text.splitlines() if "curl" in line]


def run_command(command, folder, cat):
    """What a shell makes of a command: the arguments of curl, and what it would send."""
    (folder / "cat.jpg").write_bytes(cat)
    curl = folder / "curl"
    curl.write_text('#!/bin/bash\necho "$@" > arguments\n[ "$1" = -d ] && cat > body\n')
    curl.chmod(0o755)
    subprocess.run(["bash", "-o", "pipefail", "-c", f'PATH="$PWD:$PATH"; {command}'], cwd=folder, check=False)
    body = folder / "body"
    return (folder / "arguments").read_text().split(), body.read_text() if body.exists() else None


def test_the_guide_asks_for_everything():
    asked = re.findall(r'"signature_name": "(\w+)"', "\n".join(commands()))
    assert set(asked) | {"serving_default"} == SIGNATURES
    assert len(commands()) == 8


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_guide_are_answered(command, server, cat, expected, tmp_path):
    arguments, body = run_command(command, tmp_path, cat)
    if body is None:
        assert re.fullmatch(r"http://localhost:8501/v1/models/birealnet(/metadata)?", arguments[-1])
        return
    assert arguments[:2] == ["-d", "@-"]
    answer = server.post(arguments[-1], body)
    best = np.argsort(-expected, kind="stable")[:5]
    labels, scores = [CLASSES[index] for index in best], expected[best]
    if "image_bytes" in body or "b64" in body:
        if "result" in answer:
            ((*pairs,),) = answer["result"]
            assert [label for label, _ in pairs] == labels
            np.testing.assert_array_equal(np.float32([score for _, score in pairs]), scores)
            return
        outputs = answer.get("outputs") or {key: [value] for key, value in answer["predictions"][0].items()}
        assert outputs["classes"] == [labels]
        np.testing.assert_array_equal(np.float32(outputs["scores"]), [scores])
        np.testing.assert_array_equal(np.float32(outputs["probabilities"]), [expected])
    elif "predict_uint8" in body:
        assert set(answer["predictions"][0]) == {"probabilities", "classes", "scores"}
    else:
        assert np.sum(answer["predictions"]) == pytest.approx(1.0)


def test_the_grpc_client_of_the_guide(server, cat, expected, tmp_path, capsys, monkeypatch):
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == "birealnet"
            return server.predict(request)

        def Classify(self, request, context):
            assert request.model_spec.name == "birealnet"
            return server.classify(request)

    grpc_server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), grpc_server)
    port = grpc_server.add_insecure_port("localhost:0")
    grpc_server.start()
    (tmp_path / "cat.jpg").write_bytes(cat)
    monkeypatch.chdir(tmp_path)
    (client,) = code_blocks("python")
    try:
        exec(client.replace("localhost:8500", f"localhost:{port}"), {})
    finally:
        grpc_server.stop(None)
    best = np.argsort(-expected, kind="stable")[:5]
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ", 1)[0] for line in lines] == 2 * [CLASSES[index] for index in best]


def test_pixels_are_answered_as_the_same_picture_encoded(server):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 50, 70, 3)).astype(np.uint8)
    encoded = [{"b64": tf.io.encode_base64(tf.io.encode_png(each), pad=True).numpy().decode()} for each in pixels]
    encoded = [{"b64": each["b64"].replace("-", "+").replace("_", "/")} for each in encoded]
    bodies = [
        {"signature_name": "predict_uint8", "instances": pixels.tolist()},
        {"signature_name": "predict_bytes", "instances": encoded},
    ]
    url = "http://host/v1/models/birealnet:predict"
    answers = [server.post(url, json.dumps(body)) for body in bodies]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("damage", ["nonsense", "cut", "empty"])
def test_a_damaged_picture_is_named_and_the_next_request_is_answered(damage, server, cat, expected):
    damaged = {"nonsense": b"no picture", "cut": cat[: len(cat) // 2], "empty": b""}[damage]
    signature = server.signatures["predict_bytes"]
    name, output = signature.inputs["image_bytes"].name, signature.outputs["probabilities"].name
    with pytest.raises(tf.errors.InvalidArgumentError, match="no whole JPEG or PNG in picture 1, 3, counted from 0"):
        server._session.run(output, {name: [cat, damaged, cat, damaged]})
    np.testing.assert_array_equal(server._session.run(output, {name: [cat]}), [expected])


def test_pictures_without_pixels_are_named(server):
    signature = server.signatures["predict_uint8"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="no pixels in picture 0, 1, counted from 0"):
        server._session.run(
            signature.outputs["scores"].name, {signature.inputs["images"].name: np.zeros((2, 0, 0, 3), np.uint8)}
        )


BMP = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 1082, 0, 0, 1078, 40, 1, 1, 1, 8, 0, 4, 0, 0, 0, 0) + bytes(1028)
GIF = b"GIF89a\1\0\1\0\x80\0\0\xff\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
OTHER_FORMATS = {
    "BMP": BMP,
    "GIF": GIF,
    "WebP": b"RIFF\x1a\0\0\0WEBPVP8L",
    "TIFF": b"II*\0\x08\0\0\0",
    "HEIC or AVIF": b"\0\0\0\x18ftypheic",
    "base64, not decoded": base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
@pytest.mark.parametrize("key", ["predict_bytes", "classify"])
def test_pictures_of_other_formats_are_refused_by_name(server, cat, key, name):
    """TensorFlow's decoder would take some of them: of a BMP with a palette it takes the indices for grey."""
    signature = server.signatures[key]
    (taken,) = signature.inputs.values()
    pictures = [cat, OTHER_FORMATS[name], b"nonsense"]
    if key == "classify":
        features = [tf.train.Feature(bytes_list=tf.train.BytesList(value=[each])) for each in pictures]
        features = [tf.train.Features(feature={"image/encoded": each}) for each in features]
        pictures = [tf.train.Example(features=each).SerializeToString() for each in features]
    message = rf"no whole JPEG or PNG in picture 1 \({name}\), 2, counted from 0"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        server._session.run(signature.outputs["scores"].name, {taken.name: pictures})


def test_the_decoder_alone_would_take_other_formats():
    for each in (BMP, GIF):
        assert tf.io.decode_image(each, channels=3, expand_animations=False).shape == (1, 1, 3)


def test_a_picture_from_a_phone_is_answered_as_viewers_show_it(server):
    pixels = np.random.default_rng(2).integers(0, 256, (6, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    stored = tf.io.encode_jpeg(pixels, quality=100).numpy()
    note = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    phone = stored[:2] + b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note + stored[2:]
    upright = tf.io.encode_png(np.rot90(tf.io.decode_jpeg(stored), -1)).numpy()
    signature = server.signatures["predict_bytes"]
    taken, scores = signature.inputs["image_bytes"].name, signature.outputs["scores"].name
    answers = server._session.run(scores, {taken: [upright, phone, stored]})
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


@pytest.mark.parametrize("size", [(225, 224, 3), (1, 1, 3), (112, 448, 3), (224, 224, 1), (224, 224, 4)])
def test_preprocessed_pictures_of_another_size_are_refused(exported, size):
    loaded = tf.saved_model.load(str(exported / "1"))
    message = rf"images \[2,{size[0]},{size[1]},{size[2]}\] is not compatible with expected shape \[\?,224,224,3\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.signatures["serving_default"](images=tf.zeros([2, *size]))
    if size[-1] != 3:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected shape \[\?,\?,\?,3\]"):
            loaded.signatures["predict_uint8"](images=tf.zeros([2, *size], tf.uint8))
    assert loaded.signatures["serving_default"](images=tf.zeros([2, 224, 224, 3]))["probabilities"].shape[0] == 2


def test_tensor_names_are_those_of_the_signatures(server):
    names = {
        key: (sorted(each.name for each in value.inputs.values()), sorted(each.name for each in value.outputs.values()))
        for key, value in server.signatures.items()
        if key in SIGNATURES
    }
    assert names == {
        "serving_default": (["serving_default_images:0"], ["serving_default:0"]),
        "predict_bytes": (["predict_bytes_image_bytes:0"], [f"predict_bytes:{index}" for index in range(3)]),
        "predict_uint8": (["predict_uint8_images:0"], [f"predict_uint8:{index}" for index in range(3)]),
        "classify": (["classify_inputs:0"], ["classify:0", "classify:1"]),
    }
    for key in SIGNATURES:
        for tensor in (*server.signatures[key].inputs.values(), *server.signatures[key].outputs.values()):
            assert tensor.tensor_shape.dim[0].size == -1


def test_warm_up_requests_ask_every_signature(server):
    assert sorted(server.warm_up()) == sorted(SIGNATURES)
    assert (server.path / "assets.extra" / "tf_serving_warmup_requests").stat().st_size < 20_000


def test_warm_up_requests_replay_without_larq_and_bopkit(exported):
    command = [sys.executable, ROOT / "tests" / "support" / "model_server.py", exported / "1"]
    result = subprocess.run(command, cwd=exported, check=True, capture_output=True, text=True)
    assert set(result.stdout.split()) == SIGNATURES


def test_settings_of_the_server(exported):
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((exported / "models.config").read_text(), config)
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("birealnet", "/models/birealnet")
    assert model.model_version_policy.latest.num_versions == 1
    (policy,) = re.findall(r"^model_version_policy \{.*\}$", GUIDE, re.MULTILINE)
    model.ClearField("model_version_policy")
    text_format.Parse(policy, model)
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    # BatchingParameters are not in the server's Python package.
    lines = (exported / "batching_parameters.txt").read_text().splitlines()
    settings = [line for line in lines if not line.startswith("#")]
    wrapped = r"(max_batch_size|batch_timeout_micros|max_enqueued_batches) \{ value: \d+ \}"
    assert all(re.fullmatch(rf"{wrapped}|pad_variable_length_inputs: false", line) for line in settings)
    assert len(settings) == 4


def test_settings_that_a_user_changed_stay(small_file, tmp_path):
    exported = tmp_path / "small"
    exported.mkdir()
    (exported / "models.config").write_text("# mine\n")
    export_model(small_file, tmp_path, ExportOptions(tflite=False, pictures=2))
    assert (exported / "models.config").read_text() == "# mine\n"
    assert (exported / "1").is_dir()
    (exported / "models.config").unlink()
    export_model(small_file, tmp_path, ExportOptions(tflite=False, pictures=2))
    assert "/models/small" in (exported / "models.config").read_text()


def test_the_image_and_the_compose_file_serve_what_an_export_writes():
    parsed = DockerfileParser(fileobj=io.BytesIO((DOCKER / "Dockerfile.serving").read_bytes())).structure
    steps = [(each["instruction"], each["value"]) for each in parsed if each["instruction"] != "COMMENT"]
    assert ("FROM", "tensorflow/serving:${TF_SERVING_VERSION}") in steps
    assert ("COPY", "${MODEL}/ /models/${MODEL}/") in steps
    assert ("ENV", "MODEL_NAME=${MODEL}") in steps
    assert not [value for name, value in steps if name in ("RUN", "ENTRYPOINT", "CMD")]  # the base image's own
    (version,) = re.findall(r"TF_SERVING_VERSION=([\d.]+)", (DOCKER / "Dockerfile.serving").read_text())

    (service,) = yaml.safe_load((DOCKER / "compose.serving.yaml").read_text())["services"].values()
    assert service["image"] == f"tensorflow/serving:${{TF_SERVING_VERSION:-{version}}}"
    assert service["volumes"] == ["./${MODEL}:/models/${MODEL}:ro"]
    assert "--model_config_file=/models/${MODEL}/models.config" in service["command"]
    assert [port.split(":")[-1] for port in service["ports"]] == ["8500", "8501"]
    assert f"tensorflow/serving:{version}" in GUIDE
