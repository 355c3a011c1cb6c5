"""The check of a model file's config, before Keras sees it, against the allow-list of names.

Building a Keras model from its config calls whatever the config names: a `Lambda` runs marshalled bytecode, a
`TFOpLambda` any public TensorFlow symbol (`io.write_file` writes its file while the model is being built), a
`module` key imports any Python module. So each class, module and name must be on `bopkit.artifacts.keras_allow_list`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit.artifacts.custom_code import NO_CUSTOM_CODE, CustomCode
from bopkit.artifacts.keras_allow_list import (
    CLASSES,
    DATA_CLASSES,
    MODELS,
    MODULES,
    NAMES,
    OP_FUNCTIONS,
    OP_LAYERS,
    TEXT_KEYS,
)
from bopkit.artifacts.limits import DAMAGED, MAX_CONFIG_BYTES
from bopkit.errors import BopkitError

MAX_DEPTH = 100
"""Levels of nesting; a nested model adds about six."""

_COMPOSITE_CONSTANT = "_COMPOSITE_TYPE"  # marks a constant that Keras decodes from JSON inside the JSON

_HINT = (
    "A model file can run code while it loads, so bopkit loads stock Keras and larq layers only:"
    " rebuild the model from those and save it again, or name a module of your own that you trust, or its file, with"
    " `bopkit export --custom MODULE`."
)
_LAMBDA_HINT = (
    "The bytecode of a Lambda never runs, not even with --custom: write it as a layer class in a module of your own,"
    " or export the weights with `--architecture my_package.my_network`."
)


@dataclasses.dataclass(frozen=True)
class _Source:
    """The file that is checked, and what it may name besides the allow-list."""

    path: Path
    custom_code: CustomCode

    def refusal(self, what: str, hint: str = _HINT) -> BopkitError:
        return BopkitError(f"{self.path} is refused: {what}.", hint)

    def unsafe(self, layer: str, key: str, value: object) -> BopkitError:
        kind = "function" if key == "config" else key
        hint = _LAMBDA_HINT if value in ("Lambda", "__lambda__") else _HINT
        return self.refusal(f"{kind} {_quoted(value)} in layer {_quoted(layer)} is not known to be safe", hint)


def check_config(config: object, path: Path, custom_code: CustomCode = NO_CUSTOM_CODE) -> None:
    """Refuse a model config that names anything outside the allow-list and the code that the user trusts.

    Args:
        config: The config of a whole model, as decoded from JSON.
        path: The file that it came from, for the message.
        custom_code: Code of the user's own that it may name.

    Raises:
        BopkitError: The config names something else or is nested too deeply; the message names the layer.
    """
    source = _Source(path, custom_code)
    class_name = config.get("class_name") if isinstance(config, dict) else None
    if not isinstance(class_name, str) or class_name not in MODELS | custom_code.objects.keys():
        raise source.refusal(f"{_quoted(class_name)} is not a functional or sequential model")
    _check(config, "model", "", False, 0, source)


def decode_config(text: str | bytes, path: Path) -> dict[str, Any]:
    """A config, or another JSON object of a model file, from its text.

    Raises:
        BopkitError: It is larger than `MAX_CONFIG_BYTES`.
        ValueError: It is no JSON object.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise BopkitError(f"{path} is refused: its config is larger than {MAX_CONFIG_BYTES} bytes.", DAMAGED)
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ValueError("the config is not a JSON object")
    return config


def refuse_keras_3(version: object, path: Path) -> None:
    """Raise BopkitError if the version of Keras that saved a file is 3, whose configs Keras 2 does not take."""
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    if text.startswith("3."):
        hint = "Build it under TF_USE_LEGACY_KERAS=1, load its weights, and save it again."
        raise BopkitError(f"{path} was saved by Keras 3, and larq needs Keras 2.", hint)


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
        known = value in NAMES or value in source.custom_code.objects
        if value == _COMPOSITE_CONSTANT or not (is_text or known):
            raise source.unsafe(layer, key, value)


def _check_class(value: dict[str, object], layer: str, source: _Source) -> None:
    """Check the three keys by which Keras finds a class or a function."""
    class_name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    own = source.custom_code
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
