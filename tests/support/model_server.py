"""A stand-in for TensorFlow Serving: its mapping of messages and REST bodies onto signatures, and nothing else of it.

It loads a version directory with the V1 loader, as the server does, needs stock TensorFlow and the server's own
messages only, and follows tensorflow_serving/servables/tensorflow/{predict_util,classifier}.cc and
tensorflow_serving/util/json_tensor.cc.
"""

import base64
import json
import re
import sys

import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

WARMUP_REQUESTS = "assets.extra/tf_serving_warmup_requests"


class ModelServer:
    """One version of one model.

    Args:
        path: The version directory.
        name: Name of the model, as in the URL.
    """

    def __init__(self, path, name="model"):
        self.path = path
        self.name = name
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        self.signatures = dict(meta_graph.signature_def)

    def predict(self, request):
        """PredictRequest to PredictResponse."""
        signature = self.signatures[request.model_spec.signature_name or "serving_default"]
        assert set(request.inputs) == set(signature.inputs), "input size does not match signature"
        inputs = {signature.inputs[key].name: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
        keys = list(request.output_filter) or list(signature.outputs)
        outputs = self._session.run([signature.outputs[key].name for key in keys], inputs)
        response = predict_pb2.PredictResponse()
        for key, value in zip(keys, outputs, strict=True):
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def classify(self, request):
        """ClassificationRequest to ClassificationResponse."""
        signature = self.signatures[request.model_spec.signature_name or "serving_default"]
        assert signature.method_name == "tensorflow/serving/classify", signature.method_name
        assert set(signature.inputs) == {"inputs"} and set(signature.outputs) == {"classes", "scores"}
        examples = [example.SerializeToString() for example in request.input.example_list.examples]
        assert examples, "ClassificationRequest::input is empty"
        names = [signature.outputs[key].name for key in ("classes", "scores")]
        classes, scores = self._session.run(names, {signature.inputs["inputs"].name: examples})
        assert classes.dtype == object and scores.dtype == "float32"
        assert classes.shape == scores.shape and len(classes) == len(examples)
        response = classification_pb2.ClassificationResponse()
        for row in zip(classes, scores, strict=True):
            classification = response.result.classifications.add()
            for label, score in zip(*row, strict=True):
                classification.classes.add(label=label.decode(), score=score)
        return response

    def warm_up(self):
        """Replay the warm-up requests; returns the names of the signatures that were asked."""
        logs = tf.compat.v1.io.tf_record_iterator(str(self.path / WARMUP_REQUESTS))
        return [self._replay(prediction_log_pb2.PredictionLog.FromString(log)) for log in logs]

    def _replay(self, log):
        kind = log.WhichOneof("log_type")
        request = getattr(log, kind).request
        {"predict_log": self.predict, "classify_log": self.classify}[kind](request)
        return request.model_spec.signature_name

    def post(self, url, body):
        """The JSON answer of the REST interface, as Python values."""
        path = re.fullmatch(rf"http://[\w.:]+/v1/models/{self.name}(?:/versions/\d+)?:(\w+)", url)
        assert path, url
        return {"predict": self._post_predict, "classify": self._post_classify}[path[1]](json.loads(body))

    def _post_predict(self, body):
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = body.get("signature_name", "serving_default")
        inputs = self.signatures[request.model_spec.signature_name].inputs
        assert ("instances" in body) != ("inputs" in body)
        columns = _columns(body["instances"], inputs) if "instances" in body else _named(body["inputs"], inputs)
        for name, values in columns.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(_decoded(values), dtype=inputs[name].dtype))
        outputs = {name: tf.make_ndarray(tensor) for name, tensor in self.predict(request).outputs.items()}
        values = {name: _plain(value.tolist()) for name, value in outputs.items()}
        if "inputs" in body:
            return {"outputs": values if len(values) > 1 else next(iter(values.values()))}
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        return {"predictions": rows if len(values) > 1 else next(iter(values.values()))}

    def _post_classify(self, body):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.signature_name = body.get("signature_name", "serving_default")
        for example in body["examples"]:
            features = request.input.example_list.examples.add().features.feature
            for name, value in example.items():
                features[name].bytes_list.value.append(_decoded(value))
        result = self.classify(request).result
        return {"result": [[[each.label, each.score] for each in row.classes] for row in result.classifications]}


def _columns(instances, inputs):
    """Rows as columns: each row is an object with all inputs, or the value of the only one."""
    if all(isinstance(row, dict) and set(row) == set(inputs) for row in instances):
        return {name: [row[name] for row in instances] for name in inputs}
    (name,) = inputs
    return {name: instances}


def _named(values, inputs):
    if isinstance(values, dict) and set(values) == set(inputs):
        return values
    (name,) = inputs
    return {name: values}


def _decoded(value):
    """A JSON value with each `{"b64": ...}` as the bytes that it stands for."""
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value


def _plain(value):
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    sys.modules["larq"] = sys.modules["bopkit"] = None  # importing them raises
    from pathlib import Path

    print(*ModelServer(Path(sys.argv[1])).warm_up())
