"""`bopkit pull`: the network in the user's folder is the one that was trained, and it is there whole or not at all."""

import errno
import gzip
import json
import os
import shlex
import tempfile
from pathlib import Path

import numpy as np
import pytest
from command_line import failed, forked, succeeded

import bopkit
from bopkit.artifacts.keras_file import open_model
from bopkit.cli import next_step
from bopkit.errors import UsageError
from bopkit.pretrained import pull as pulling
from bopkit.pretrained.named import kept_model
from bopkit.pretrained.rebuild import rebuild
from bopkit.pretrained.shipped import read_shipped, shipped_names

pytestmark = pytest.mark.integration

NAME = "binarynet_fashion_mnist"
FILES = {"model.h5", "model.tflite", "run_config.json"}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_fashion_mnist = pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    return bopkit.pull_model(NAME, tmp_path_factory.mktemp("pulled") / "net")


@pytest.fixture
def copy(pulled, tmp_path):
    """A folder with the same files, which a test may change."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in Path(pulled.folder).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_network_is_the_one_that_was_trained(pulled):
    """Each weight, bit for bit, and the card; the kernels are -1 and +1."""
    shipped, loaded = read_shipped(NAME), open_model(pulled.model)
    assert loaded.card == shipped.card
    for weight, found, expected in zip(
        shipped.facts.weights, loaded.model.weights, shipped.unpacked_weights(), strict=True
    ):
        assert found.name == weight.name
        assert found.numpy().tobytes() == expected.tobytes()
        assert ("kernel" in weight.name) == bool((np.abs(expected) == 1).all())


def test_the_kept_file_does_not_depend_on_the_session(tmp_path, monkeypatch, forked_children):
    """Keras counts the quantizers that it has made, and writes their names down."""
    kept = []
    for folder in ("a", "b"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / folder))
        kept.append(kept_model(NAME, pulling.silent).read_bytes())
        rebuild(read_shipped(NAME))
    assert kept[0] == kept[1]


def test_the_other_files_are_those_of_the_package(pulled):
    parts = read_shipped(NAME).parts
    assert set(contents(Path(pulled.folder))) == FILES
    assert Path(pulled.flatbuffer).read_bytes() == parts["model.tflite"]
    assert Path(pulled.run_config).read_bytes() == parts["config.json"]
    assert pulled.model_bytes == Path(pulled.model).stat().st_size
    assert pulled.flatbuffer_bytes == len(parts["model.tflite"])
    assert pulled.written
    assert "licence" in repr(pulled) and len(pulled.to_pandas()) == 1


@pytest.mark.parametrize("name", shipped_names())
def test_flatbuffer_and_keras_file_are_the_same_network(name, tmp_path, forked_children):
    pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")
    pulled = bopkit.pull_model(name, tmp_path / "net")
    verified = bopkit.verify_artifacts(pulled.model, pulled.flatbuffer, pictures=64)
    assert verified.passed, verified.failures


@needs_fashion_mnist
def test_the_accuracy_is_that_of_the_test_pictures(pulled):
    """Read from the files of Debian's package: neither TFDS nor bopkit's pipeline takes part."""
    pixels, labels = (gzip.decompress((DEBIAN / f"t10k-{each}-ubyte.gz").read_bytes()) for each in FASHION_FILES)
    pictures = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    scores = bopkit.load_model(pulled.model).predict(pictures.astype(np.float32) / 127.5 - 1, 500, verbose=0)
    correct = scores.argmax(axis=1) == np.frombuffer(labels, np.uint8, offset=8)
    assert len(correct) == pulled.pictures
    assert correct.mean() == pytest.approx(pulled.top1, abs=5e-4)  # a near-tie may fall otherwise on another processor


FASHION_FILES = ("images-idx3", "labels-idx1")


def test_the_same_again_changes_nothing(copy):
    before = {path: path.stat() for path in copy.iterdir()}
    again = bopkit.pull_model(NAME, copy)
    assert not again.written
    assert {path: path.stat().st_mtime_ns for path in copy.iterdir()} == {
        path: facts.st_mtime_ns for path, facts in before.items()
    }


@pytest.mark.parametrize("missing", sorted(FILES))
def test_a_file_that_is_missing_comes_back_beside_what_is_the_users_own(missing, copy, pulled):
    (copy / missing).unlink()
    (copy / "notes.txt").write_text("mine")
    assert bopkit.pull_model(NAME, copy).written
    found = contents(copy)
    assert found.pop("notes.txt") == b"mine"
    assert set(found) == FILES
    assert open_model(copy / "model.h5").card == open_model(pulled.model).card


def one_more_flip(path):
    """A `model.h5` like the other but for the sign of one weight."""
    loaded = open_model(path)
    kernel = loaded.model.weights[0]
    values = kernel.numpy()
    values.flat[0] *= -1
    kernel.assign(values)
    pulling.files.write_bytes(path, pulling.model_bytes(loaded.model, loaded.card, path))


@pytest.mark.parametrize(
    "file, change",
    [*((file, "another") for file in sorted(FILES)), ("model.tflite", "folder"), ("model.h5", "one weight")],
)
def test_another_file_is_never_overwritten(file, change, copy):
    if change == "one weight":
        one_more_flip(copy / file)
    else:
        (copy / file).unlink()
        (copy / file).mkdir() if change == "folder" else (copy / file).write_bytes(b"mine")
    missing = min(FILES - {file})
    (copy / missing).unlink()
    with pytest.raises(UsageError) as error:
        bopkit.pull_model(NAME, copy)
    assert error.value.message == f"{copy / file} exists already, and is another file."
    assert {path.name for path in copy.iterdir()} == FILES - {missing}
    if change == "another":
        assert (copy / file).read_bytes() == b"mine"


def test_a_failure_half_way_leaves_nothing_new(copy, monkeypatch):
    for file in ("model.tflite", "model.h5"):
        (copy / file).unlink()
    before = contents(copy)
    rename, left = Path.rename, [1]

    def failing(path, target):
        if path.name in FILES and not left:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        if path.name in FILES:
            left.pop()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space left"):
        bopkit.pull_model(NAME, copy)
    assert not left
    assert contents(copy) == before


def test_a_full_disk_is_one_line_and_leaves_no_folder(tmp_path):
    done = forked("pull", NAME, "--to", tmp_path / "a" / "net", size_bytes=1_000_000)
    assert failed(done) == (
        f"Error: The disk is full while writing {tmp_path}/a/net/model.h5. Free some space and run the command again."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_read_only_is_one_line():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o555)
        not_root = "import os\nif os.getuid() == 0: os.setuid(65534)"
        done = forked("pull", NAME, "--to", f"{folder}/net", before=not_root)
        assert failed(done).startswith(f"Error: No permission for {folder}")
        assert os.listdir(folder) == []


def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_built(tmp_path):
    (tmp_path / "net").write_text("mine")
    with pytest.raises(UsageError, match="is a file where a folder must be"):
        bopkit.pull_model(NAME, tmp_path / "net", progress=pytest.fail)


def test_what_is_typed_next_runs_without_the_dataset(tmp_path):
    """A newcomer has prepared nothing."""
    alone = {"HOME": str(tmp_path), "TFDS_DATA_DIR": str(tmp_path / "none"), "XDG_CONFIG_HOME": str(tmp_path)}
    done = forked("pull", NAME, cwd=tmp_path, environment=alone)
    assert succeeded(done) == f"{NAME}\n"
    start, *words = shlex.split(done.stderr.splitlines()[-1])
    assert start == "Next:"
    assert words == ["bopkit", "benchmark", f"{NAME}/model.h5", f"{NAME}/model.tflite"]
    done = forked(*words[1:], "--min-seconds", 0, "--json", cwd=tmp_path, environment=alone)
    rows = json.loads(succeeded(done))["rows"]
    assert [row["error"] for row in rows] == [None, None]
    assert all(row["latency_ms_p50"] > 0 for row in rows)


def test_what_is_typed_next_names_a_dataset_that_is_prepared(pulled, capsys):
    next_step.say_pulled_next(pulling.dataclasses.replace(pulled, dataset="digits"))
    assert capsys.readouterr().err.endswith("model.tflite --dataset digits\n")


@needs_fashion_mnist
@pytest.mark.release
def test_the_road_of_readme_with_the_dataset(tmp_path):
    """Prepare, pull, benchmark: both files have the accuracy that the package says."""
    succeeded(forked("data", "prepare", "fashion_mnist", "--from", DEBIAN, "--data-dir", tmp_path / "tfds"))
    pulled = json.loads(succeeded(forked("pull", NAME, "--json", cwd=tmp_path)))
    arguments = ["--dataset", "fashion_mnist", "--data-dir", "tfds", "--min-seconds", 0, "--json"]
    report = json.loads(succeeded(forked("benchmark", pulled["model"], pulled["flatbuffer"], *arguments, cwd=tmp_path)))
    for row, key in zip(report["rows"], ("top1", "flatbuffer_top1"), strict=True):
        assert row["pictures"] == 10_000
        assert row["top1"] == pytest.approx(pulled[key], abs=5e-4)
