"""An error in a module of the user's own names its file and line; only what is bopkit's is called a bug."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bopkit.artifacts.custom_code import import_custom_code
from bopkit.artifacts.keras_file import open_model
from bopkit.data import open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.failures import translate
from bopkit.keras2 import import_tensorflow
from bopkit.own_code import import_module
from bopkit.registry import MODELS

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module of the user's and returns its name; each test has a package of its own."""
    package = f"own_{abs(hash(str(tmp_path)))}"
    (tmp_path / package).mkdir()
    monkeypatch.chdir(tmp_path)

    def write_module(name: str, code: str) -> str:
        (tmp_path / package / f"{name}.py").write_text(code)
        return f"{package}.{name}"

    return write_module


def place(module: str, line: int) -> str:
    return f"({module.replace('.', '/')}.py, line {line})"


def raised_by(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def test_a_mistake_in_the_users_file_names_the_line(write: Write) -> None:
    module = write("data", "def open_dataset(data_dir):\n    settings = {}\n    return settings['size']\n")
    known = translate(raised_by(lambda: open_dataset(module)))
    assert known.message == f"KeyError: 'size' {place(module, 3)}." and "your own code" in known.hint
    module = write("importing", "x = 1\ny = undefined\n")
    with pytest.raises(BopkitError) as caught:
        import_module(module, "a test")
    assert f"NameError: name 'undefined' is not defined {place(module, 2)}" in caught.value.message


def test_a_mistake_of_bopkit_is_still_a_bug(write: Write) -> None:
    import_module(write("fine", "x = 1\n"), "a test")
    assert "looks like a bug" in translate(raised_by(lambda: {}["size"])).hint


def test_an_error_that_another_follows_from_is_found(write: Write) -> None:
    module = import_module(write("inner", "def fail():\n    return 1 // 0\n"), "a test")

    def wrapped() -> None:
        try:
            module.fail()
        except ZeroDivisionError as error:
            raise RuntimeError("it did not work") from error

    known = translate(raised_by(wrapped))
    assert known.message.startswith("ZeroDivisionError: ") and place(module.__name__, 2) in known.message


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def open_dataset():\n    return 3\n", "cannot be called with the data folder"),
        ("def open_dataset(data_dir):\n    return 3\n", "returned int, not a dataset"),
    ],
)
def test_a_module_that_is_no_dataset(code: str, said: str, write: Write) -> None:
    with pytest.raises(UsageError, match=said):
        open_dataset(write("data", code))


NETWORK = """
import dataclasses
import tensorflow as tf
from bopkit.models.binarynet import ARCHITECTURE

class Layer(tf.keras.layers.Layer):
    def call(self, x):
        return x.nothing

def build(hparams, input_shape, classes):
    {build}

ARCHITECTURE = dataclasses.replace(ARCHITECTURE, name="mine", build=build)
"""


def test_a_mistake_in_a_layer_that_tensorflow_traces(write: Write) -> None:
    module = write("net", NETWORK.format(build="return tf.keras.Sequential([tf.keras.Input(input_shape), Layer()])"))
    import_tensorflow()
    architecture = MODELS.load(module)
    known = translate(raised_by(lambda: architecture.build_network(architecture.hparams(), (32, 32, 1), 10)))
    assert known.message.startswith("AttributeError: '") and known.message.endswith(f"'nothing' {place(module, 8)}.")


def test_a_network_that_is_a_class_of_its_own(write: Write) -> None:
    import_tensorflow()
    architecture = MODELS.load(write("net", NETWORK.format(build="return type('Net', (tf.keras.Model,), {})()")))
    with pytest.raises(BopkitError, match="of the network mine returned a model without inputs and outputs of its own"):
        architecture.build_network(architecture.hparams(), (32, 32, 1), 10)


def test_a_network_that_is_none(write: Write) -> None:
    import_tensorflow()
    architecture = MODELS.load(write("net", NETWORK.format(build="pass")))
    with pytest.raises(BopkitError, match="`build` of the network mine returned NoneType, not a model of tf.keras"):
        architecture.build_network(architecture.hparams(), (32, 32, 1), 10)


def test_a_python_function_that_fails_in_a_graph_of_tensorflow(write: Write) -> None:
    tf = import_tensorflow()
    module = import_module(write("rows", "def rows():\n    yield 1\n    raise ValueError('no row 2')\n"), "a test")
    rows = tf.data.Dataset.from_generator(module.rows, output_signature=tf.TensorSpec([], tf.int64))
    known = translate(raised_by(lambda: list(rows)))
    assert known.message == f"ValueError: no row 2 {place(module.__name__, 3)}."


LAYER = """
import tensorflow as tf

class Twice(tf.keras.layers.Layer):
    def __init__(self{argument}, **settings):
        super().__init__(**settings)
        {body}

    def call(self, x):
        return 2 * x
"""


def test_a_file_is_not_called_damaged_for_a_class_of_the_users_own(write: Write, tmp_path: Path) -> None:
    tf = import_tensorflow()
    names = [
        write(name, LAYER.format(argument=argument, body=body))
        for name, argument, body in (("good", "", "pass"), ("bad", "", "1 // 0"), ("other", ", factor", "pass"))
    ]
    good, bad, other = map(lambda name: import_custom_code([name]), names)
    tf.keras.Sequential([tf.keras.Input((4,)), good.objects["Twice"](), tf.keras.layers.Dense(2)]).save("net.h5")
    assert open_model("net.h5", good).model
    with pytest.raises(BopkitError) as caught:
        open_model("net.h5", bad)
    assert "net.h5 does not load: ZeroDivisionError: " in caught.value.message
    assert caught.value.message.endswith(f"{place(names[1], 7)}.") and "your own code" in caught.value.hint
    with pytest.raises(BopkitError, match="class Twice: .*'factor'. Name with --custom the code") as caught:
        open_model("net.h5", other)
    assert "damaged" not in caught.value.hint
