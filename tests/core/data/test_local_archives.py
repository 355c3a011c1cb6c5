"""Datasets from archives that the user already has: what is checked of them, and what is left when one is wrong."""

import errno
import gzip
import hashlib
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from command_line import failed, forked, succeeded
from tensorflow_datasets.core.download.checksums import UrlInfo

from bopkit.data import local_archives, open_dataset, prepare_datasets
from bopkit.errors import BopkitError, UsageError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
IMAGES = {"red": np.full((4, 8, 8, 3), [200, 0, 0], np.uint8), "blue": np.full((4, 8, 8, 3), [0, 0, 200], np.uint8)}


def zipped(data, name=b"pictures", time=1_000_000_000):
    """A gzip file whose header has a name and a time."""
    body = gzip.compress(data, mtime=0)
    return body[:3] + bytes([8]) + time.to_bytes(4, "little") + body[8:10] + name + b"\0" + body[10:]


ARCHIVES = {
    colour: {"pictures.gz": zipped(images.tobytes()), "labels.gz": zipped(bytes([0, 1, 0, 1]), b"labels")}
    for colour, images in IMAGES.items()
}


def registered(colour):
    return {
        f"https://example.org/{colour}/{name}": UrlInfo(len(data), hashlib.sha256(data).hexdigest(), name)
        for name, data in ARCHIVES[colour].items()
    }


class RedPictures(tfds.core.GeneratorBasedBuilder):
    """Four red pictures, from two gzip files."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = Path(__file__).parent
    url_infos = registered("red")
    failure = None

    def _info(self):
        label = tfds.features.ClassLabel(names=["a", "b"])
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(8, 8, 3)), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        urls = {url.rpartition("/")[2]: url for url in self.url_infos}
        return {"test": self._generate_examples(dl_manager.download_and_extract(urls))}

    def _generate_examples(self, paths):
        labels = Path(paths["labels.gz"]).read_bytes()
        images = np.frombuffer(Path(paths["pictures.gz"]).read_bytes(), np.uint8).reshape(-1, 8, 8, 3)
        yield 0, {"image": images[0], "label": labels[0]}
        if self.failure is not None:
            raise self.failure
        for number in range(1, 4):
            yield number, {"image": images[number], "label": labels[number]}


class BluePictures(RedPictures):
    """Four blue ones, from files of the same names."""

    url_infos = registered("blue")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def archives(tmp_path):
    """A folder with the archives of both datasets, each in one of its own."""
    for colour, files in ARCHIVES.items():
        (tmp_path / "mine" / colour).mkdir(parents=True)
        for name, data in files.items():
            (tmp_path / "mine" / colour / name).write_bytes(data)
    return tmp_path / "mine"


def everything(folder):
    """All below a folder: contents and times of files."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def colours(dataset):
    return {tuple(picture) for image, _ in dataset.read("test") for picture in decoded(image).reshape(-1, 3).tolist()}


def decoded(image):
    import tensorflow as tf

    return tf.io.decode_png(image).numpy()


def test_is_prepared_without_network_and_only_reads_the_folder(archives, tmp_path):
    before = everything(archives)
    lines = []
    (dataset,) = prepare_datasets(["red_pictures"], tmp_path / "tfds", lines.append, source=archives / "red")
    assert colours(dataset) == {(200, 0, 0)}
    assert lines[0] == f"checking 2 archives in {archives / 'red'}"
    assert everything(archives) == before
    assert [each.name for each in (tmp_path / "tfds").iterdir()] == ["red_pictures"]  # no downloads, no scratch files
    prepare_datasets(["red_pictures"], tmp_path / "tfds", lines.append, source=tmp_path / "missing")
    assert lines[-1].endswith("--from is not read")


def test_archives_of_the_same_names_are_told_apart(archives, tmp_path):
    (red,) = prepare_datasets(["red_pictures"], tmp_path / "tfds", source=archives / "red")
    (blue,) = prepare_datasets(["blue_pictures"], tmp_path / "tfds", source=archives / "blue")
    assert (colours(red), colours(blue)) == ({(200, 0, 0)}, {(0, 0, 200)})
    with pytest.raises(BopkitError, match="has other files than those that red_pictures is made of"):
        prepare_datasets(["red_pictures"], tmp_path / "other", source=archives / "blue")


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)


def dead_link(path):
    path.unlink()
    path.symlink_to("nowhere")


WRONG = {
    "flipped": (lambda folder: flip_a_bit(folder / "labels.gz"), r"labels.gz has the SHA-256 \w{12}\.\.\., not \w{12}"),
    "cut": (lambda folder: os.truncate(folder / "labels.gz", 20), r"labels.gz has 20 bytes, not \d+"),
    "missing": (lambda folder: (folder / "labels.gz").unlink(), r"lacks labels.gz,.* from https://example.org/red/"),
    "empty": (lambda folder: [each.unlink() for each in folder.iterdir()], r"lacks labels.gz, pictures.gz,"),
    "a dead link": (
        lambda folder: dead_link(folder / "labels.gz"),
        r"lacks labels.gz,.* from https://example.org/red/",
    ),
    "a folder": (lambda folder: [(folder / "labels.gz").unlink(), (folder / "labels.gz").mkdir()], "lacks labels.gz"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_archives_are_named_and_leave_nothing(wrong, archives, tmp_path):
    damage, message = WRONG[wrong]
    damage(archives / "red")
    with pytest.raises(BopkitError, match=message):
        prepare_datasets(["red_pictures"], tmp_path / "tfds", source=archives / "red")
    assert not (tmp_path / "tfds").exists()


def test_all_wrong_archives_are_named_at_once(archives, tmp_path):
    for path in (archives / "red").iterdir():
        flip_a_bit(path)
    with pytest.raises(BopkitError, match=r"labels.gz has .*; pictures.gz has "):
        prepare_datasets(["red_pictures"], tmp_path / "tfds", source=archives / "red")


def test_archives_in_a_folder_below_are_found_but_not_taken(archives, tmp_path):
    with pytest.raises(BopkitError, match=rf"lacks labels.gz, pictures.gz.*{archives / 'blue'} has them"):
        prepare_datasets(["red_pictures"], tmp_path / "tfds", source=archives)


@pytest.mark.parametrize("name", ["missing", "a_file"])
def test_what_is_no_folder(name, tmp_path):
    (tmp_path / "a_file").touch()
    with pytest.raises(UsageError, match="does not exist|is no folder"):
        prepare_datasets(["red_pictures"], tmp_path / "tfds", source=tmp_path / name)


@pytest.mark.parametrize("name", ["digits"])
def test_what_is_made_of_no_archives(name, tmp_path):
    with pytest.raises(UsageError, match="is not made of archives"):
        prepare_datasets([name], source=tmp_path)


def test_only_the_archives_of_the_configuration_are_asked_for(tmp_path):
    with pytest.raises(BopkitError, match=r"lacks cifar10.1_v6_data.npy, cifar10.1_v6_labels.npy, which"):
        prepare_datasets(["cifar10_1/v6"], tmp_path / "tfds", source=tmp_path)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_preparation_that_ends_early_leaves_nothing(failure, archives, tmp_path, monkeypatch):
    monkeypatch.setattr(RedPictures, "failure", failure)
    with pytest.raises((BopkitError, KeyboardInterrupt)) as caught:
        prepare_datasets(["red_pictures"], tmp_path / "tfds", source=archives / "red")
    if isinstance(failure, OSError):
        assert f"the disk of {tmp_path / 'tfds'} is full" in str(caught.value)
    assert not (tmp_path / "tfds").exists()


def without_header(data):
    """A gzip file without the name in its header and with another time, as Debian's tools write it."""
    header_end = data.index(b"\0", 10) + 1
    return data[:3] + bytes([0]) + (7).to_bytes(4, "little") + data[8:10] + data[header_end:]


@pytest.mark.parametrize("is_sound", [True, False])
def test_a_stripped_gzip_header_is_put_back_and_the_whole_is_checked(is_sound, archives, tmp_path, monkeypatch):
    path = archives / "red" / "labels.gz"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(without_header(path.read_bytes()))
    monkeypatch.setattr(local_archives, "GZIP_TIMES_S", {sha256: 1_000_000_000})
    if is_sound:
        prepare_datasets(["red_pictures"], tmp_path / "tfds", source=archives / "red")
        return
    flip_a_bit(path)
    with pytest.raises(BopkitError, match=rf"labels.gz has the SHA-256 .*, not {sha256[:12]}"):
        prepare_datasets(["red_pictures"], tmp_path / "tfds", source=archives / "red")


needs_fashion_mnist = pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")


@needs_fashion_mnist
@pytest.mark.release
def test_fashion_mnist_from_debians_package(tmp_path):
    result = forked("data", "prepare", "fashion_mnist", "--from", DEBIAN, "--data-dir", tmp_path)
    assert succeeded(result) == "fashion_mnist is ready: 10 classes, input 28 x 28 x 1\n"
    pictures = gzip.decompress((DEBIAN / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((DEBIAN / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    given = sorted((labels[number], pictures[784 * number : 784 * (number + 1)]) for number in range(10_000))
    dataset = open_dataset("fashion_mnist", tmp_path)
    assert (dataset.count("train"), dataset.count("test")) == (60_000, 10_000)
    assert sorted((int(label), decoded(image).tobytes()) for image, label in dataset.read("test")) == given


@needs_fashion_mnist
@pytest.mark.integration
def test_fashion_mnist_on_a_full_disk(tmp_path):
    arguments = ["prepare", "fashion_mnist", "--from", DEBIAN, "--data-dir", tmp_path / "tfds"]
    line = failed(forked(*arguments, size_bytes=30_000_000))
    assert f"the disk of {tmp_path / 'tfds'} is full" in line
    assert not (tmp_path / "tfds").exists()
