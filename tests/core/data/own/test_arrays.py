"""Datasets of arrays: in memory, in `.npz` files, in MNIST's files."""

import gzip
import struct
import zipfile

import numpy as np
import pytest

from bopkit.data import dataset_from_arrays, open_dataset
from bopkit.errors import BopkitError, UsageError

GENERATOR = np.random.default_rng(0)
PICTURES = {
    "train": GENERATOR.integers(0, 256, (20, 6, 5, 3), np.uint8),
    "test": GENERATOR.integers(0, 256, (4, 6, 5, 3), np.uint8),
}
LABELS = {"train": np.arange(20) % 3, "test": np.array([2, 1, 0, 0])}
ARRAYS = {f"x_{split}": each for split, each in PICTURES.items()} | {
    f"y_{split}": each for split, each in LABELS.items()
}


def everything(dataset, split):
    """Pictures and labels of a split."""
    pictures, labels = zip(*dataset.read(split).as_numpy_iterator(), strict=True)
    return np.stack(pictures), np.array(labels)


def check_same(dataset, pictures=PICTURES, labels=LABELS):
    """That a dataset has these pictures and labels, and slices of them."""
    for split, expected in pictures.items():
        found, numbers = everything(dataset, split)
        np.testing.assert_array_equal(found, expected.reshape(found.shape))
        np.testing.assert_array_equal(numbers, labels[split])
        assert dataset.count(split) == len(expected)
    found, numbers = everything(dataset, "train[5:8]+test[50%:]")
    np.testing.assert_array_equal(numbers, [*labels["train"][5:8], *labels["test"][2:]])
    np.testing.assert_array_equal(found[:3].ravel(), pictures["train"][5:8].ravel())
    np.testing.assert_array_equal(dataset.labels("train[5:8]"), labels["train"][5:8])


def test_arrays_in_memory():
    dataset = dataset_from_arrays(**ARRAYS, class_names=["a", "b", "c"])
    check_same(dataset)
    assert (dataset.class_names, dataset.picture_size, dataset.test_split) == (("a", "b", "c"), (6, 5), "test")
    assert dataset.input_shape == (6, 5, 3)
    other = dataset_from_arrays(**{**ARRAYS, "y_train": LABELS["train"][::-1]})
    assert dataset.identity.startswith("arrays@") and dataset.identity != other.identity
    assert dataset.identity == dataset_from_arrays(**ARRAYS).identity


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files(save, tmp_path):
    """Those of `savez` are read from the file, those of `savez_compressed` into memory."""
    save(tmp_path / "data.npz", **ARRAYS)
    dataset = open_dataset(f"npz:{tmp_path / 'data.npz'}")
    check_same(dataset)
    assert (dataset.name, dataset.class_names) == ("npz:data.npz", ("0", "1", "2"))
    save(tmp_path / "other.npz", **{**ARRAYS, "x_test": PICTURES["test"][::-1]}, class_names=["a", "b", "c"])
    named = open_dataset(f"npz:{tmp_path / 'other.npz'}")
    assert named.class_names == ("a", "b", "c")
    assert named.identity.partition("@")[2] != dataset.identity.partition("@")[2]


def test_labels_of_text_and_grey_pictures(tmp_path):
    words = np.array(["cat", "ant", "bee"])
    grey = {split: each[..., 0] for split, each in PICTURES.items()}
    arrays = {f"x_{split}": each for split, each in grey.items()}
    arrays |= {f"y_{split}": words[each][:, None] for split, each in LABELS.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = open_dataset(f"npz:{tmp_path / 'a.npz'}")
    assert dataset.class_names == ("ant", "bee", "cat") and dataset.input_shape == (6, 5, 1)
    places = np.array([2, 0, 1])
    check_same(dataset, grey, {split: places[each] for split, each in LABELS.items()})


def write_idx(path, array, pack=lambda data: data):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(pack(header + array.astype(np.uint8).tobytes()))


@pytest.mark.parametrize(("ending", "pack"), [("", lambda data: data), (".gz", gzip.compress)])
@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
def test_idx_folders(ending, pack, prefix, tmp_path):
    grey = {split: each[..., 0] for split, each in PICTURES.items()}
    for split, word in (("train", "train"), ("test", "test" if prefix else "t10k")):
        write_idx(tmp_path / f"{prefix}{word}-images-idx3-ubyte{ending}", grey[split], pack)
        write_idx(tmp_path / f"{prefix}{word}-labels-idx1-ubyte{ending}", LABELS[split] + 1, pack)
    dataset = open_dataset(f"idx:{tmp_path}")
    assert dataset.class_names == ("1", "2", "3")
    check_same(dataset, grey)


def changed(**others):
    return {**ARRAYS, **others}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "has no arrays, and not x_train"),
        ({"x_train": PICTURES["train"]}, "has x_train, and not y_train"),
        ({"a": np.zeros(3)}, "has a, and not x_train"),
        (changed(x_train=PICTURES["train"] / 255), "x_train is float64, 20x6x5x3, and pictures are uint8"),
        (changed(x_train=PICTURES["train"].reshape(20, -1)), "x_train is 20x90, and pictures are"),
        (changed(x_train=np.zeros((20, 6, 5, 7), np.uint8)), "x_train is 20x6x5x7, and pictures are"),
        (changed(x_test=np.zeros((4, 6, 4, 3), np.uint8)), "the pictures of train and test are 6x5x3 and 6x4x3"),
        (changed(y_train=LABELS["train"][:19]), "split train has 20 pictures and 19 labels"),
        (changed(y_train=np.eye(3)[LABELS["train"]]), r"y_train has 2 dimensions.*Save `y_train.argmax\(1\)`"),
        (changed(y_train=LABELS["train"] / 2), "y_train is float64, and labels are"),
        (changed(y_train=LABELS["train"] - 1), "y_train has the label -1"),
        (changed(y_train=np.zeros(20, int), y_test=np.zeros(4, int)), "has 1 class"),
        (changed(y_test=np.array(["a", "b", "c", "c"])), "numbers in one split and text in another"),
        (changed(class_names=["a", "b"]), "2 classes have names, and there is the label 2"),
        (changed(y_train=np.array([None] * 20)), "y_train.npy holds Python objects"),
        (changed(class_names=["a", "b", "a"]), "two classes are named a"),
        (changed(class_names=["a", "b", " "]), "class_names: a name is empty"),
        (changed(y_train=np.array([b"\xff"] * 20)), "is no text in UTF-8"),
        (changed(y_train=np.full(20, 2**63, np.uint64)), "y_train has the label 9223372036854775808"),
    ],
)
def test_what_is_no_dataset_is_told_in_one_line(arrays, words, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UsageError, match=words) as raised:
        open_dataset(f"npz:{tmp_path / 'a.npz'}")
    assert "\n" not in str(raised.value) and raised.value.hint


def test_damaged_files_of_arrays(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    whole = path.read_bytes()
    at = whole.find(PICTURES["train"].tobytes()[:50])
    for data in (b"", b"text", whole[:-30], whole[:at] + b"\0\0" + whole[at + 2 :]):
        path.write_bytes(data)
        with pytest.raises(BopkitError, match="is damaged, or no .npz file"):
            open_dataset(f"npz:{path}")
    for split, word in (("train", "train"), ("test", "t10k")):
        write_idx(tmp_path / f"{word}-images-idx3-ubyte", PICTURES[split][..., 0])
        write_idx(tmp_path / f"{word}-labels-idx1-ubyte", LABELS[split])
    images = tmp_path / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    for data in (b"", whole[:9], whole[:-1], whole + b"\0", b"\1" + whole[1:]):
        images.write_bytes(data)
        with pytest.raises(BopkitError, match=r"train-images-idx3-ubyte is .*\. Copy it again"):
            open_dataset(f"idx:{tmp_path}")
    images.unlink()
    images.with_name(f"{images.name}.gz").write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(BopkitError, match="is damaged, or not gzipped"):
        open_dataset(f"idx:{tmp_path}")
    images.write_bytes(whole)
    images.with_name(f"{images.name}.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(UsageError, match="has both train-images-idx3-ubyte and train-images-idx3-ubyte.gz"):
        open_dataset(f"idx:{tmp_path}")


def test_names_of_classes_are_text_on_one_line(tmp_path):
    names = np.array([b"cat", b"big  dog\n", b"bee"])
    np.savez(tmp_path / "a.npz", **ARRAYS, class_names=names, x_valid=PICTURES["test"], y_valid=LABELS["test"])
    dataset = open_dataset(f"npz:{tmp_path / 'a.npz'}")
    assert dataset.class_names == ("cat", "big dog", "bee")
    assert dataset.split_names == ("train", "validation", "test")
    assert (dataset.validation_split, dataset.test_split) == ("validation", "test")
    words = {**ARRAYS, "y_train": np.array(["c", "c ", "a"])[LABELS["train"]], "y_test": np.array(["a"] * 4)}
    assert dataset_from_arrays(**words).class_names == ("a", "c")
    with pytest.raises(UsageError, match="is no array: its parts have several shapes"):
        dataset_from_arrays([[1], [1, 2]], [0, 1])


def npy(data, shape, descr="|u1"):
    """A .npy file whose header says what it likes."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"garbage",
        npy(bytes(10), "(20, 6, 5, 3)"),
        npy(bytes(9000), "(20, 6, 5, 3)"),
        npy(b"", "(10**12, 9, 9)"),
        npy(b"", "(1000000000000, 9, 9)"),
        npy(bytes(9), "(-1, 3, 3)"),
        npy(bytes(9), "(1, 3, 3"),
        npy(bytes(9), "(1, 3, 3)", "|zz"),
    ],
)
def test_headers_that_lie_are_damage(member, compression, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("x_train.npy", member)
        archive.writestr("y_train.npy", npy(bytes(range(20)), "(20,)"))
    with pytest.raises(BopkitError, match="is damaged, or no .npz file"):
        open_dataset(f"npz:{tmp_path / 'a.npz'}")
