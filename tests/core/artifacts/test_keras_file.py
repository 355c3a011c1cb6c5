"""Model files: exact round trips; nothing of a hostile or damaged file is run, followed or half-written."""

from __future__ import annotations

import copy
import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from edited_models import with_config
from forks import run_python

from bopkit.artifacts import checksum, hdf5_probe, keras_config, keras_file
from bopkit.artifacts import keras_allow_list as allowed
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import load_model, open_model, read_card, read_config, save_model
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow

Config = dict[str, Any]

CARD = ModelCard(
    architecture="binarynet",
    input_shape=(8, 8, 3),
    value_range=(-1.0, 1.0),
    preprocessing="scale",
    class_names=tuple(f"class {index} " + 40 * "x" for index in range(10_000)),
    trained=True,
    accuracy={"validation_top1": 0.5},
)
LAMBDA = {"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEAAAA=", None, None]}}


@pytest.fixture(scope="module")
def model() -> Any:
    """A network with all that a config can hold: quantizers, TFOpLambda, slice, wrapper, nested model."""
    tf = import_tensorflow()
    import larq

    tf.keras.backend.clear_session()  # the tests look layers up by the names that Keras counts up
    layers = tf.keras.layers
    pictures = tf.keras.Input((8, 8, 3), name="pictures")
    x = larq.layers.QuantConv2D(
        4,
        3,
        name="conv",
        padding="same",
        pad_values=1.0,
        input_quantizer="ste_sign",
        kernel_quantizer=larq.quantizers.DoReFa(mode="weights"),
        kernel_constraint="weight_clip",
        kernel_regularizer="l2",
    )(pictures)
    x = layers.BatchNormalization(name="norm")(x * 2 + 1)
    x = tf.nn.relu(tf.concat([x, x[:, :, :, :2]], axis=-1))
    x = layers.TimeDistributed(layers.Dense(5, activation="tanh"), name="wrapped")(x)
    policy = tf.keras.mixed_precision.Policy("float32")
    top = layers.Dense(2, name="top", dtype=policy, kernel_initializer=tf.keras.initializers.HeNormal())
    inner = tf.keras.Sequential([layers.GlobalMaxPooling2D(), layers.Dense(3, "relu", name="hidden")], name="inner")
    return tf.keras.Model(pictures, top(inner(x)), name="network")


@pytest.fixture(scope="module", params=[".h5", ".keras"])
def saved(request: pytest.FixtureRequest, model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That network as Keras itself writes it, compiled, in both formats."""
    path: Path = tmp_path_factory.mktemp("saved") / f"model{request.param}"
    model.compile("adam", "mse")
    model.save(path)
    return path


def layer(config: Config, name: str) -> Config:
    found: Config = next(each for each in config["config"]["layers"] if each["config"]["name"] == name)
    return found


def set_in(layer_name: str, **settings: object) -> Callable[[Config], object]:
    return lambda config: layer(config, layer_name)["config"].update(settings)


def set_keys(layer_name: str, **keys: object) -> Callable[[Config], object]:
    return lambda config: layer(config, layer_name).update(keys)


def refusal(path: Path) -> str:
    with pytest.raises(BopkitError) as error:
        load_model(path)
    assert str(path) in error.value.message and error.value.hint and "\n" not in str(error.value)
    return error.value.message


@pytest.mark.integration
def test_round_trip_is_exact(model: Any, tmp_path: Path) -> None:
    assert len(CARD.to_json()) > 500_000
    save_model(model, CARD, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    assert read_card(tmp_path / "model.h5") == CARD == open_model(tmp_path / "model.h5").card
    for before, after in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_files_of_keras_load(saved: Path, model: Any) -> None:
    pictures = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
    loaded = load_model(saved)
    assert read_card(saved) is None and loaded.optimizer is None
    np.testing.assert_array_equal(loaded(pictures), model(pictures))


def positions(value: object, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The key path of every value in a config."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*keys, key)
        yield from positions(item, (*keys, key))


def replaced(config: Config, keys: tuple[Any, ...], value: object) -> Config:
    config = copy.deepcopy(config)
    parent: Any = config
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = value
    return config


@pytest.mark.integration
def test_an_unknown_object_or_name_is_refused_wherever_it_stands(saved: Path) -> None:
    config = read_config(saved)
    keras_config.check_config(config, saved)
    tried = 0
    for keys in positions(config):
        evil: list[object] = [LAMBDA, {"class_name": "function", "config": "exec", "module": "builtins"}]
        if not allowed.TEXT_KEYS & set(keys):
            evil.append("os>system")
        for value in evil:
            tried += 1
            with pytest.raises(BopkitError, match="is refused"):
                keras_config.check_config(replaced(config, keys, value), saved)
    assert tried > 500


ATTACKS: dict[str, tuple[Callable[[Config], object], str, str]] = {
    "lambda": (set_keys("top", **LAMBDA), "evil", "Lambda"),
    "unknown layer": (set_keys("top", class_name="Surprise"), "top", "Surprise"),
    "layer that reads a file": (
        set_keys("top", class_name="StringLookup", config={"name": "words", "vocabulary": "/etc/passwd"}),
        "words",
        "StringLookup",
    ),
    "raw graph node": (set_keys("top", class_name="TensorFlowOpLayer"), "top", "TensorFlowOpLayer"),
    "class that is no text": (
        set_keys("top", class_name={"class_name": "__bytes__", "value": "Lambda"}),
        "top",
        "__bytes__",
    ),
    "imported module": (set_keys("top", module="antigravity"), "top", "antigravity"),
    "registered object": (set_keys("top", registered_name="Custom>Evil"), "top", "Custom>Evil"),
    "TFOpLambda": (set_in("tf.math.multiply", function="io.write_file"), "tf.math.multiply", "io.write_file"),
    "TFOpLambda of a layer": (set_in("tf.math.multiply", function="Dense"), "tf.math.multiply", "Dense"),
    "SlicingOpLambda": (
        set_in("tf.__operators__.getitem", function="raw_ops.WriteFile"),
        "tf.__operators__.getitem",
        "raw_ops.WriteFile",
    ),
    "py_function": (set_in("tf.nn.relu", function="py_function"), "tf.nn.relu", "py_function"),
    "initializer": (set_in("top", bias_initializer="os>system"), "top", "os>system"),
    "initializer object": (
        set_in("top", bias_initializer={"class_name": "system", "module": "os", "config": {}}),
        "top/bias_initializer",
        "system",
    ),
    "regularizer": (set_in("top", kernel_regularizer="tf"), "top", "tf"),
    "constraint": (set_in("conv", kernel_constraint="keras_export"), "conv", "keras_export"),
    "quantizer": (set_in("conv", input_quantizer="register_alias"), "conv", "register_alias"),
    "quantizer object": (set_in("conv", kernel_quantizer=LAMBDA), "conv/evil", "Lambda"),
    "activation": (set_in("top", activation="os>system"), "top", "os>system"),
    "activation function": (
        set_in("top", activation={"class_name": "function", "module": "builtins", "config": "exec"}),
        "top/activation",
        "exec",
    ),
    "marshalled activation": (
        set_in("top", activation={"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}),
        "top/activation",
        "__lambda__",
    ),
    "dtype policy": (set_in("top", dtype={"class_name": "Evil", "config": {}}), "top/dtype", "Evil"),
    "type spec": (
        set_in(
            "pictures",
            type_spec={"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": []},
        ),
        "pictures/type_spec",
        "__typespec__",
    ),
    "wrapped layer": (set_in("wrapped", layer=LAMBDA), "wrapped/evil", "Lambda"),
    "nested model": (
        lambda config: layer(config, "inner")["config"]["layers"].append(LAMBDA),
        "inner/evil",
        "Lambda",
    ),
    "nested optimizer": (
        set_keys("inner", compile_config={"optimizer": {"class_name": "Custom>Evil", "config": {}}}),
        "inner/optimizer",
        "Custom>Evil",
    ),
    "constant in an edge": (
        set_keys("top", inbound_nodes=[[["_CONSTANT_VALUE", -1, ["_COMPOSITE_TYPE", "{}"], {}]]]),
        "top",
        "_COMPOSITE_TYPE",
    ),
    "object in an edge": (
        set_keys("top", inbound_nodes=[[["inner", 1, 0, {"mask": LAMBDA}]]]),
        "top/evil",
        "Lambda",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_refused_and_named(attack: str, saved: Path, tmp_path: Path) -> None:
    edit, where, what = ATTACKS[attack]
    message = refusal(with_config(saved, tmp_path, edit))
    assert f"{where}'" in message and what in message and "is refused" in message


def test_function_that_writes_while_building_never_runs(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "written"

    def edit(config: Config) -> None:
        evil = layer(config, "tf.math.multiply")
        evil["config"]["function"] = "io.write_file"
        evil["inbound_nodes"] = [["_CONSTANT_VALUE", -1, str(target), {"contents": "x"}]]

    path = with_config(saved, tmp_path, edit)
    assert "io.write_file" in refusal(path)
    assert not target.exists()
    with pytest.raises(Exception):  # noqa: B017  Keras fails somehow, after it has run the function
        import_tensorflow().keras.models.load_model(path, compile=False)
    assert target.exists(), "the file does no harm, so refusing it proves nothing"


@pytest.mark.parametrize("source", [["top", 0, 0, {}], ["norm", 1, 0, {}], ["inner", 0.5, 0, {}]])
def test_graph_that_keras_would_build_for_ever_is_refused(source: list[object], saved: Path) -> None:
    config = read_config(saved)
    layer(config, "wrapped")["inbound_nodes"] = [[source]]
    with pytest.raises(BopkitError, match="without an input"):
        keras_config.check_config(config, saved)


def test_training_config_is_not_used(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / saved.name
    shutil.copy(saved, path)
    if saved.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["training_config"] = json.dumps({"optimizer_config": LAMBDA, "loss": LAMBDA})
    else:
        path = with_config(saved, tmp_path, lambda config: config.update(compile_config={"loss": LAMBDA}))
    assert load_model(path).optimizer is None


def test_allow_list_names_exist_and_registered_ones_are_larqs_or_ours() -> None:
    tf = import_tensorflow()
    from tensorflow.python.util.tf_export import get_symbol_from_name

    classes = allowed.MODELS | allowed.KERAS_LAYERS | allowed.OP_LAYERS | allowed.LARQ_LAYERS
    for name in classes:
        try:
            tf.keras.layers.deserialize({"class_name": name, "config": {}}, use_legacy_format=True)
        except (TypeError, KeyError) as error:  # the class is found, its arguments are missing
            assert "Unknown layer" not in str(error)
    for name in allowed.ACTIVATIONS:
        assert callable(tf.keras.activations.get(name))
    for name in allowed.OP_FUNCTIONS:
        assert callable(get_symbol_from_name(name)), name
    registered = tf.keras.utils.get_custom_objects()
    for name in allowed.NAMES & set(registered):
        assert registered[name].__module__.startswith(
            ("larq.", "bopkit.artifacts.larq_zoo_objects", "bopkit.layers")
        ), name


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.9999])
def test_cut_short(share: float, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / saved.name
    data = saved.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refusal(path)


def test_random_damage_never_escapes_as_another_error(saved: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / saved.name
    data = np.frombuffer(saved.read_bytes(), np.uint8)
    for _ in range(25):
        damaged = data.copy()
        damaged[rng.integers(0, len(data), 20)] = rng.integers(0, 256, 20)
        path.write_bytes(damaged.tobytes())
        try:
            load_model(path)
        except BopkitError as error:
            assert "\n" not in str(error)


def write_weights_only(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("model_weights")


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("missing.h5", lambda path: None, "does not exist"),
        ("folder.h5", lambda path: path.mkdir(), "is a directory"),
        ("foreign.h5", lambda path: path.write_text("hello, world"), "is not a Keras model file"),
        ("empty.h5", lambda path: path.touch(), "is empty"),
        ("weights.h5", write_weights_only, "holds no model"),
        (
            "foreign.keras",
            lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "a"),
            "holds more than a model",
        ),
    ],
)
def test_other_files(name: str, make: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    assert says in refusal(tmp_path / name)


def test_weights_of_another_model(saved: Path, tmp_path: Path) -> None:
    refusal(with_config(saved, tmp_path, set_in("top", units=7)))


def test_deep_nesting_is_bounded(saved: Path, tmp_path: Path) -> None:
    def nest(config: Config) -> None:
        for _ in range(150):
            config["config"] = {
                "name": "n",
                "layers": [{"class_name": "Sequential", "config": config["config"]}],
            }

    assert "nested" in refusal(with_config(saved, tmp_path, nest))
    path = tmp_path / "brackets.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = 100_000 * "["
    assert "RecursionError" in refusal(path)


def test_keras_3_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.attrs["keras_version"] = "3.4.1"
        file.attrs["model_config"] = "{}"
    assert "Keras 3" in refusal(tmp_path / "new.h5")


def save_unsealed(model: Any, path: Path) -> None:
    """A file without a checksum, which a test can alter."""
    model.save(path, include_optimizer=False)
    with h5py.File(path, "r+") as file:
        file.attrs["bopkit_card"] = CARD.to_json()


def link_out(file: h5py.File) -> None:
    del file["model_weights/top"]
    file["model_weights/top"] = h5py.ExternalLink("other.h5", "/")


def link_in(file: h5py.File) -> None:
    file["model_weights/again"] = h5py.SoftLink("/model_weights/top")


def read_another_file(file: h5py.File) -> None:
    file.create_dataset("passwords", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def grow(file: h5py.File) -> None:
    file.create_dataset("huge", (1 << 40,), "f4", chunks=(1 << 20,))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(link_out, "link"), (link_in, "link"), (read_another_file, "another file"), (grow, "bytes")],
)
def test_tensors_lie_in_the_file(spoil: Callable[[h5py.File], None], says: str, model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    save_unsealed(model, path)
    with h5py.File(path, "r+") as file:
        spoil(file)
    assert says in refusal(path)


@pytest.fixture
def zipped(model: Any, tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    model.save(path)
    return path


def test_stray_member_is_refused(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr("../../escaped", "x")
    assert "escaped" in refusal(zipped)


def test_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(100 << 20))
        archive.writestr("model.weights.h5", b"")
    assert bomb.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert "larger than" in refusal(bomb)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_zip_behind_an_hdf5_signature_is_not_read(zipped: Path, model: Any, tmp_path: Path) -> None:
    """One file that is harmless as HDF5 and hostile as zip: what was checked has to be what is loaded."""
    hostile = with_config(zipped, tmp_path, set_keys("top", class_name="Surprise"))
    harmless = tmp_path / "harmless.h5"
    save_unsealed(model, harmless)
    both = tmp_path / "both.keras"
    both.write_bytes(harmless.read_bytes() + hostile.read_bytes())
    assert zipfile.is_zipfile(both)
    assert open_model(both).card == CARD


def test_what_was_checked_is_what_is_loaded(zipped: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody replaces the file between the check and the load."""

    def check_then_replace(*arguments: Any) -> None:
        check(*arguments)
        tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)]).save(zipped)

    tf = import_tensorflow()
    check = keras_file.check_config
    monkeypatch.setattr(keras_file, "check_config", check_then_replace)
    loaded = load_model(zipped)
    assert loaded.input_shape == model.input_shape


def test_a_zip_file_loads_under_any_name(zipped: Path, model: Any) -> None:
    loaded = load_model(zipped.rename(zipped.with_suffix(".h5")))
    assert loaded.input_shape == model.input_shape


@pytest.mark.parametrize("error", [MemoryError(), TypeError("Descriptors cannot be created directly.")])
def test_what_is_wrong_with_the_machine_is_not_blamed_on_the_file(
    error: Exception, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(keras_file, "check_config" if isinstance(error, MemoryError) else "import_tensorflow", fail)
    with pytest.raises(type(error)) as raised:
        load_model(saved)
    assert raised.value is error


@pytest.mark.release
def test_a_layer_beyond_memory_is_not_blamed_on_the_file(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(import_tensorflow().errors.ResourceExhaustedError):
        load_model(with_config(saved, tmp_path, set_in("top", units=1 << 44)))


def test_an_error_without_text_is_named_by_its_class(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise LookupError

    monkeypatch.setattr(keras_file, "check_config", fail)
    assert "LookupError" in refusal(saved)


def test_damaged_card(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    save_unsealed(model, path)
    with h5py.File(path, "r+") as file:
        file.attrs["bopkit_card"] = '{"input_shape": 3}'
    assert "The model card in" in refusal(path)


def test_saving_elsewhere_than_h5_is_a_usage_error(model: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.h5"):
        save_model(model, CARD, tmp_path / "model.keras")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from bopkit.artifacts.card import ModelCard
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.artifacts.keras_file import save_model

tf = import_tensorflow()
layers = [tf.keras.layers.InputLayer((512,)), tf.keras.layers.Dense(512)]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_model(tf.keras.Sequential(layers), ModelCard("x", (1, 1, 1), (0, 1), "x"), Path(sys.argv[1]))
except BopkitError as error:
    print(error.message)
"""


def test_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"old")
    done = run_python(FULL_DISK, path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{path} cannot be written" in done.stdout
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_right_checksum_does_not_make_a_stranger_s_file_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "forged.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file.attrs[checksum.ENTRY] = np.bytes_(checksum.BLANK)
    path.write_bytes(checksum.sealed(path.read_bytes()))
    probed = []
    monkeypatch.setattr(hdf5_probe, "probe", lambda *paths: probed.append(paths))
    read_config(path)
    assert checksum.check(path) and probed


def test_tensors_that_are_no_numbers_are_refused(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("text", data=["a", "b"], dtype=h5py.string_dtype())
    with pytest.raises(BopkitError, match="tensor 'model_weights/text' holds no numbers"):
        load_model(path)


def test_a_call_that_keras_does_not_save_whole_is_not_called_damaged(tmp_path: Path) -> None:
    tf = import_tensorflow()
    inputs = tf.keras.Input((4, 3))
    tf.keras.Model(inputs, tf.einsum("ntc,cd->ntd", inputs, tf.ones((3, 5)))).save(tmp_path / "net.h5")
    with pytest.raises(ValueError, match="Exception encountered when calling layer"):
        tf.keras.models.load_model(tmp_path / "net.h5")  # as the hint says
    with pytest.raises(BopkitError, match=r"layer tf.einsum \(TFOpLambda\) cannot be called") as error:
        open_model(tmp_path / "net.h5")
    assert "--custom" in error.value.hint
