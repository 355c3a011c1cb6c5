"""Datasets of picture files: in folders, and in tables."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bopkit.data import BatchOptions, get_preprocessing, open_dataset, training_batches
from bopkit.data.dataset import readable
from bopkit.data.own.naming import parse_own_name, with_splits_of
from bopkit.data.own.remembered import remember_pictures
from bopkit.errors import BopkitError, UsageError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    return tmp_path


def picture(value, size=(9, 8), mode="RGB", kind="PNG"):
    """An encoded picture, all of it of one value."""
    file = io.BytesIO()
    Image.new(mode, size[::-1], value if mode == "L" else (value,) * 3).save(file, kind)
    return file.getvalue()


def write(path, data):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def seen(dataset, split):
    """The value and the class name of each picture of a split."""
    pixels = get_preprocessing("resize:0..255", (8, 8, 3))
    return [
        (int(pixels.evaluate(image).numpy().max()), dataset.class_names[label]) for image, label in dataset.read(split)
    ]


def test_pictures_in_no_folder_of_a_class_are_told():
    for name in ("a/1", "b/1", "a/2", "b/2", "stray", ".hidden"):
        write(f"photos/{name}.png", picture(1))
    said = []
    open_dataset("folder:photos", progress=said.append)
    assert [line for line in said if "left out" in line] == [
        "1 picture in photos lies in no folder of a class: left out"
    ]


def test_folders_of_classes_are_split_the_same_way_each_time():
    values = {"round": range(0, 40), "square": range(40, 60), "two": range(60, 62), "one": range(62, 63)}
    for name, numbers in values.items():
        for value in numbers:
            write(f"photos/{name}/{value}.png", picture(value))
    dataset = open_dataset("folder:photos")
    assert (dataset.name, dataset.class_names) == ("folder:photos", ("one", "round", "square", "two"))
    assert (dataset.split_names, dataset.test_split) == (("train", "validation", "test"), "test")
    assert dataset.validation_split == "validation"
    assert {split: np.bincount(dataset.labels(split), minlength=4).tolist() for split in dataset.split_names} == {
        "train": [1, 32, 16, 1],
        "validation": [0, 4, 2, 0],
        "test": [0, 4, 2, 1],
    }
    found = [pair for split in dataset.split_names for pair in seen(dataset, split)]
    assert sorted(found) == [(value, name) for name, numbers in values.items() for value in numbers]
    again = open_dataset(f"folder:{Path('photos').absolute()}/")
    assert again.identity == dataset.identity
    assert [path.tolist() for path in map(again.paths, again.split_names)] == [
        path.tolist() for path in map(dataset.paths, dataset.split_names)
    ]
    train = seen(dataset, "train")
    assert [name for _, name in train] != sorted(name for _, name in train)  # each slice has a bit of all
    assert seen(dataset, "train[10:20]+test[:1]") == train[10:20] + seen(dataset, "test")[:1]
    write("photos/round/new.png", picture(99))
    assert open_dataset("folder:photos").identity != dataset.identity


def test_folders_of_splits():
    for number, split in enumerate(("train", "val", "test")):
        for label, name in enumerate(("b", "a")):
            write(f"photos/{split}/{name}/x/1.jpg", picture(20 * number + 10 * label, kind="JPEG"))
    dataset = open_dataset("folder:photos")
    assert (dataset.split_names, dataset.class_names) == (("train", "validation", "test"), ("a", "b"))
    assert (dataset.test_split, dataset.validation_split) == ("test", "validation")
    assert sorted(seen(dataset, "validation")) == [(20, "b"), (30, "a")]
    write("photos/notes/deep/1.png", picture(0))
    with pytest.raises(
        UsageError, match="has the splits test, train and val, which hold folders, and beside them notes"
    ):
        open_dataset("folder:photos")


def test_a_class_may_be_called_train():
    for name in ("bus", "train", "test"):
        write(f"photos/{name}/1.png", picture(1))
    assert open_dataset("folder:photos").class_names == ("bus", "test", "train")


def test_names_hidden_files_and_links(here):
    names = ["grün blau", "zwei\nzeilen", "u\u0308ber", "-x; $y"]
    for number, name in enumerate(names):
        write(f"photos/{name}/a b\n{number}ß.png", picture(number))
    write(b"photos/-x; $y/\xff.png".decode(errors="surrogateescape"), picture(9))
    for hidden in (".hidden/1.png", "-x; $y/.1.png", "-x; $y/._1.jpg", "-x; $y/Thumbs.db"):
        write(f"photos/{hidden}", b"no picture")
    write("elsewhere/1.png", picture(7))
    write("elsewhere/deeper/1.png", picture(8))
    (here / "photos/linked").symlink_to(here / "elsewhere")
    (here / "photos/-x; $y/link.png").symlink_to(here / "elsewhere/1.png")
    (here / "photos/-x; $y/loop").symlink_to(here / "photos")
    (here / "photos/empty").mkdir()
    said = []
    dataset = open_dataset("folder:photos", progress=said.append)
    assert dataset.class_names == ("-x; $y", "grün blau", "linked", "zwei zeilen", "über")
    found = [pair for split in dataset.split_names for pair in seen(dataset, split)]
    assert sorted(found) == [
        (0, "grün blau"), (1, "zwei zeilen"), (2, "über"), (3, "-x; $y"),
        *[(7, "-x; $y"), (7, "linked"), (8, "linked"), (9, "-x; $y")],
    ]  # fmt: skip
    assert said == ["empty of folder:photos has no pictures: it is left out"]
    write("photos/über/1.png", picture(1))
    with pytest.raises(UsageError, match="two folders for class über"):
        open_dataset("folder:photos")


def test_pictures_that_cannot_be_used_are_all_named_or_left_out(here):
    for name in ("a", "b"):
        for value in range(10):
            write(f"photos/{name}/{value}.png", picture(value))
    whole = picture(3, kind="JPEG", size=(64, 64))
    middle = bytearray(picture(3, size=(64, 64)))
    middle[60] ^= 0xFF  # its header and its end are sound
    bad = {"cut.jpg": whole[:-30], "empty.png": b"", "text.jpg": b"text", "tiff.tif": b"II*\0", "middle.png": middle}
    for name, data in bad.items():
        write(f"photos/a/{name}", bytes(data))
    (here / "photos/a/gone.png").symlink_to("nowhere")
    write("photos/a/behind.jpg", whole + b"trailer of a camera")  # sound
    with pytest.raises(
        BopkitError, match=r"5 pictures cannot be used: a/cut.jpg is damaged, .* and 2 more\."
    ) as raised:
        open_dataset("folder:photos")
    assert "by '?skip-damaged' behind" in raised.value.hint
    said = []
    dataset = open_dataset("folder:photos?skip-damaged", progress=said.append)
    assert sum(dataset.count(split) for split in dataset.split_names) == 21
    assert len(said) == 1 and said[0].startswith("left out: 6 pictures cannot be used: a/")
    (kept,) = (here / ".cache/bopkit/surveys").iterdir()
    assert open_dataset("folder:photos?skip-damaged").identity == dataset.identity
    kept.write_bytes(b"damaged")
    assert open_dataset("folder:photos?skip-damaged").identity == dataset.identity
    for name in [*bad, "gone.png"]:
        if name != "middle.png":
            (here / "photos/a" / name).unlink()
    write("photos/c/only.png", b"text")
    assert open_dataset("folder:photos?skip-damaged").class_names == ("a", "b")
    (here / "photos/c/only.png").unlink()
    write("bad/a/1.png", b"text")
    with pytest.raises(UsageError, match="folder:bad: 1 picture cannot be used: a.1.png is damaged.*none is left"):
        open_dataset("folder:bad?skip-damaged")
    dataset = open_dataset("folder:photos")  # only decoding tells that there is one left
    with pytest.raises(BopkitError, match=r"1 picture cannot be used: a/middle.png is damaged\."):
        for split in dataset.split_names:
            batches = dataset.read(split).map(
                lambda image, label: get_preprocessing("resize", (8, 8, 3)).evaluate(image)
            )
            list(readable(batches, dataset, split))


def test_a_picture_that_is_removed_later_is_named(here):
    for name in "ab":
        for value in range(5):
            write(f"photos/{name}/{value}.png", picture(value))
    dataset = open_dataset("folder:photos")
    (here / os.fsdecode(b"photos/" + dataset.paths("train")[0])).unlink()
    with pytest.raises(BopkitError, match=r"1 picture cannot be used: ./\d.png does not exist"):
        list(readable(dataset.read("train"), dataset, "train"))


def test_training_shuffles_all_places_and_goes_on_where_it_stopped():
    for name in "ab":
        for value in range(20):
            write(f"photos/{name}/{value}.png", picture(value if name == "a" else 100 + value, size=(10, 10)))
    dataset = open_dataset("folder:photos")
    preprocessing = get_preprocessing("imagenet", (32, 32, 3))

    def epochs(**first):
        options = BatchOptions(batch_size=4, steps_per_epoch=8, epochs=2, seed=3, **first)
        batches = training_batches(dataset, "train", preprocessing, options)
        return [(np.array(pixels), labels.tolist()) for pixels, labels in batches.as_numpy_iterator()]

    whole = epochs()
    assert len(whole) == 16
    values = [
        sorted(int(pixels[each].max()) for pixels, _ in batches for each in range(4))
        for batches in (whole[:8], whole[8:])
    ]
    assert values[0] == values[1] == sorted(value for value, _ in seen(dataset, "train"))
    assert [labels for _, labels in whole[:8]] != [labels for _, labels in whole[8:]]
    rest = epochs(first_epoch=1, first_step=3)
    for (pixels, labels), (expected, expected_labels) in zip(rest, whole[11:], strict=True):
        np.testing.assert_array_equal(pixels, expected)
        assert labels == expected_labels


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_facts_follow_the_pictures(mode):
    for name in "ab":
        write(f"photos/{name}/1.png", picture(3, (40, 30), mode))
    dataset = open_dataset("folder:photos")
    assert dataset.picture_size == (40, 30)
    assert dataset.input_shape == (40, 30, 1 if mode == "L" else 3)
    write("photos/a/2.png", picture(3, (40, 31)))
    dataset = open_dataset("folder:photos")
    assert dataset.picture_size is None and dataset.input_shape[2] == 3


def test_tables(here):
    for value in range(6):
        write(f"files/ü {value}.png", picture(value))
    names = ["even", "odd"]
    rows = [f'"ü {value}.png";{names[value % 2]};{"test" if value > 3 else "train"}' for value in range(6)]
    Path("files/list.csv").write_text("\ufeff" + "\r\n".join(["File;Class;Split", *rows]), encoding="utf-8")
    dataset = open_dataset("csv:files/list.csv")
    assert (dataset.name, dataset.class_names, dataset.split_names) == (
        "csv:list.csv",
        ("even", "odd"),
        ("train", "test"),
    )
    assert sorted(seen(dataset, "test")) == [(4, "even"), (5, "odd")]
    rows = [f"{here / 'files'}/ü {value}.png,{value % 2}" for value in range(6)]
    Path("plain.csv").write_text("\n".join(["image,label", *rows]))
    dataset = open_dataset("csv:plain.csv")
    assert dataset.class_names == ("0", "1") and dataset.split_names == ("train", "validation", "test")
    assert sorted(pair for split in dataset.split_names for pair in seen(dataset, split)) == [
        (value, str(value % 2)) for value in range(6)
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column 'path'; its first line is ''"),
        ("name,label\na,b", "has no column 'path'; its first line is 'name,label'"),
        ("path,label", "has no pictures"),
        ("path,label\na.png,", "line 2: it has no label"),
        ("path,label\n1.png,a\n,b", "line 3: it has no path"),
        ("path,label,split\n1.png,a,train\n2.png,b,", "line 3: it has no split"),
        ("path,label,split\n1.png,a,\n2.png,b,test", "some lines have a split and some have none"),
        ("path,label,label\n1.png,a,b", "several columns for the label: label and label"),
        ("path,label,class\n1.png,a,b", "several columns for the label: label and class"),
        ("path,label\nhttps://x.org/1.png,a", "line 2: https://x.org/1.png is an address"),
        ("path,label\n1\0.png,a", "line 2: .* is no path|is no CSV file"),
        ("path,label,split\n1.png,a,train[:5]", "train\\[:5\\] cannot be the name of a split"),
        ("path,label\n1.png,a\n./1.png,b", "1 picture is named more than once: 1.png"),
        ("path,label\n1.png,a\n2.png,a", "has pictures of one class, a: a network tells classes apart"),
        (
            "path,label\n1.png,a\nx.png,a\ny.png,b\nz.png,b\nw.png,b",
            "4 pictures cannot be used: x.png does not exist.*1 more",
        ),
        ("path,label\n1.png,\xe4".encode("latin-1"), "is no CSV file in UTF-8"),
    ],
)
def test_what_is_no_table_is_told_in_one_line(text, words):
    for value in (1, 2):
        write(f"{value}.png", picture(value))
    Path("list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BopkitError, match=words) as raised:
        open_dataset("csv:list.csv")
    assert "\n" not in str(raised.value) and raised.value.hint


def test_paths_that_hold_no_pictures(here):
    write("photos/1.png", picture(1))
    (here / "empty").mkdir()
    for name, words in (
        ("folder:nosuch", "nosuch does not exist. Name a folder: folder:PATH."),
        ("folder:photos/1.png", "photos/1.png is no folder"),
        ("npz:photos", "photos is no file"),
        ("folder:", "No path is named. Name a folder: folder:PATH."),
        ("folder:photos", "photos has no pictures in folders of their classes"),
        ("folder:empty", "empty has no pictures in folders"),
        ("idx:empty", "empty has no files of MNIST's format"),
        ("npz:photos/1.png?skip-damaged", "npz: has no files of single pictures"),
    ):
        with pytest.raises(UsageError, match=words):
            open_dataset(name)
    with pytest.raises(UsageError, match=re.escape("Dataset 'folder:photos' has no versions.")):
        open_dataset("folder:photos", version="1.0.0")
    with pytest.raises(UsageError, match="is not made of archives"):
        open_dataset("folder:photos", prepare=True, source=here)
    with pytest.raises(UsageError, match="The model card names the dataset 'folder:photos', which neither"):
        open_dataset("folder:photos", own_modules=False)


@pytest.mark.parametrize(
    ("path", "name"), [("./photos", "folder:./photos"), ("photos", "folder:photos"), ("a b.npz", "'npz:a b.npz'")]
)
def test_a_path_in_place_of_a_name_is_told_what_to_type(here, path, name):
    (here / "photos").mkdir()
    (here / "a b.npz").touch()
    with pytest.raises(UsageError, match=re.escape(f"Name it {name};")):
        open_dataset(path)


def test_a_run_remembers_its_pictures_when_others_come(here):
    for name in "ab":
        for value in range(20):
            write(f"photos/{name}/{value} ü.png", picture(value))
    write(os.fsdecode(b"photos/a/\xff\n.png"), picture(99))
    before = open_dataset("folder:photos")
    (here / "run").mkdir()
    remember_pictures(before, here / "run")
    for value in range(100, 140):
        write(f"photos/a/{value}.png", picture(value))
    fresh = open_dataset("folder:photos")
    moved = {path for path, _ in seen(fresh, "test")} & {path for path, _ in seen(before, "train")}
    assert moved, "without a memory, new pictures move others into the test split"
    said = []
    name = with_splits_of("folder:photos", here / "run")
    again = open_dataset(name, progress=said.append)
    assert again.identity == before.identity and again.name == before.name
    for split in before.split_names:
        assert seen(again, split) == seen(before, split)
    assert said == ["40 pictures of folder:photos came after the run began: left out"]
    write("photos/a/3 ü.png", b"text")
    with pytest.raises(BopkitError, match="1 picture cannot be used: a/3 ü.png is damaged.*Put them back as they were"):
        open_dataset(f"{name}&skip-damaged")
    (here / "photos/a/3 ü.png").unlink()
    with pytest.raises(BopkitError, match="1 picture of the run cannot be found: a/3 ü.png"):
        open_dataset(name)
    (here / "run" / "pictures.csv").write_text("path\nx")
    with pytest.raises(BopkitError, match="pictures.csv is damaged"):
        open_dataset(name)
    with pytest.raises(BopkitError, match="no run remembers"):
        open_dataset(with_splits_of("folder:photos", here / "photos"))


@pytest.mark.parametrize(
    "name",
    [
        "folder:photos",
        "csv:a b.csv?skip-damaged",
        "folder:/data/what?splits-of=/runs/x",
        "folder:what?skip-damaged&splits-of=runs/x",
        "folder:why?",
        "folder:why?not",
        "npz:a:b",
        "folder:what?splits-of=/R%26D/what%3F/100%25",
    ],
)
def test_names_are_read_as_they_are_written(name):
    own = parse_own_name(name)
    assert str(own) == name
    assert own.path == re.fullmatch(r"\w+:(.*?)(\?(skip-damaged|splits-of).*)?", name)[1]
    for other in ("digits", "cifar10:3.0.2", "my.module", "folder"):
        assert parse_own_name(other) is None


def test_names_of_splits_are_read_as_people_write_them(here):
    for split in ("Train", "VAL", "testing"):
        for name in "ab":
            write(f"photos/{split}/{name}/1.png", picture(1))
    assert open_dataset("folder:photos").split_names == ("train", "validation", "test")
    rows = [f"photos/{split}/{name}/1.png,{name},{split}" for split in ("Train", "VAL", "testing") for name in "ab"]
    Path("list.csv").write_text("\n".join(["path,label,split", *rows]))
    assert open_dataset("csv:list.csv").split_names == ("train", "validation", "test")
    write("photos/train/a/1.png", picture(1))
    with pytest.raises(UsageError, match="two folders for one split: Train and train"):
        open_dataset("folder:photos")
    for split in ("train", "test"):
        write(f"flat/{split}/1.png", picture(1))
    with pytest.raises(UsageError, match="folders test and train, which hold no folders of classes"):
        open_dataset("folder:flat")


def test_a_link_to_itself_is_a_picture_that_cannot_be_used(here):
    for name in "ab":
        write(f"photos/{name}/1.png", picture(1))
    (here / "photos/a/x.png").symlink_to("x.png")
    with pytest.raises(BopkitError, match="1 picture cannot be used: a/x.png cannot be read"):
        open_dataset("folder:photos")
    deep = here / "photos/a" / "/".join(["d"] * 900)
    deep.mkdir(parents=True)
    assert open_dataset("folder:photos?skip-damaged").count("train") == 2


def test_a_run_in_any_folder_remembers(here):
    for name in "ab":
        write(f"photos/{name}/1.png", picture(1))
    before = open_dataset("folder:photos")
    run = here / "R&D" / "100 %?skip-damaged"
    run.mkdir(parents=True)
    remember_pictures(before, run)
    assert open_dataset(with_splits_of("folder:photos", run)).identity == before.identity
    Path("list.csv").write_text("path,label\nphotos/a/1.png,a\nphotos/b/1.png,b")
    remember_pictures(open_dataset("csv:list.csv"), run)
    Path("list.csv").write_text("path,label\nphotos/a/1.png,b\nphotos/b/1.png,a")
    with pytest.raises(BopkitError, match="2 pictures had another class when the run began: photos/a/1.png"):
        open_dataset(with_splits_of("csv:list.csv", run))


@pytest.mark.parametrize("kind", ["BMP", "PNG", "JPEG"])
def test_another_content_of_the_same_size_is_another_dataset(kind):
    for name in "ab":
        write(f"photos/{name}/1.png", picture(1, kind=kind))
    before = open_dataset("folder:photos").identity
    size = len(picture(1, kind=kind))
    others = (picture(value, kind=kind) for value in range(2, 256))
    write("photos/a/1.png", next(each for each in others if len(each) == size))
    assert open_dataset("folder:photos").identity != before
