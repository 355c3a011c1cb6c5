"""The contact sheet of `bopkit data preview`."""

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from bopkit.cli import data
from bopkit.data import BatchOptions, Dataset, DatasetFacts, PictureRecipe, get_preprocessing, training_batches
from bopkit.data.preprocessing import preprocessing_names
from bopkit.data.preview import EPOCHS, _versions, preview
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow


class Numbered(Dataset):
    """Six random pictures of 40x48; the label is the picture's place."""

    def __init__(self):
        super().__init__(DatasetFacts("numbered", 6, (32, 32, 3), "shift", "", {"train": 6}), "abcdef")
        self.pictures = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)

    def count(self, split):
        return 6

    def read(self, split):
        return import_tensorflow().data.Dataset.from_tensor_slices((self.pictures, np.arange(6)))


RECIPES = {
    "nothing": {},
    "whole": {"randaugment_count": "2"},
    "all": {"random_erasing": "0.5", "randaugment_count": "1", "mixup": "1"},
}


@pytest.mark.integration
@pytest.mark.parametrize("name", preprocessing_names())
@pytest.mark.parametrize("recipe", ["nothing", "whole"])
def test_the_sheet_shows_what_a_training_run_sees(name, recipe):
    dataset, preprocessing, seed = Numbered(), get_preprocessing(name, (32, 32, 3)), 5
    recipe = PictureRecipe.of_values(RECIPES[recipe])
    options = BatchOptions(batch_size=6, steps_per_epoch=1, seed=seed, epochs=EPOCHS)
    batches = training_batches(dataset, "train", preprocessing, options, recipe=recipe)
    shown = _versions(list(dataset.pictures), preprocessing, seed, recipe)
    for epoch, (images, labels) in enumerate(batches):
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            expected = preprocessing.to_pixels(preprocessing.finish(image).numpy())
            np.testing.assert_array_equal(shown[label][1 + epoch], expected)


def test_the_sheet_shows_erased_and_mixed_pictures():
    images = list(import_tensorflow().constant(Numbered().pictures))
    preprocessing = get_preprocessing("resize", (40, 48, 3))
    plain, mixed = (
        _versions(images, preprocessing, 5, PictureRecipe.of_values(RECIPES[name])) for name in ("nothing", "all")
    )
    for before, after in zip(plain, mixed, strict=True):
        np.testing.assert_array_equal(before[0], after[0])  # evaluation
        assert all(np.any(one != other) for one, other in zip(before[1:], after[1:], strict=True))


@pytest.mark.parametrize("name", preprocessing_names())
def test_pixels_survive_the_way_through_the_networks_values(name):
    pixels = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    preprocessing = get_preprocessing(name, (16, 16, 3))
    np.testing.assert_array_equal(preprocessing.to_pixels(preprocessing.finish(np.float32(pixels)).numpy()), pixels)


def test_the_command_writes_a_png_and_prints_its_name(tmp_path):
    app = typer.Typer()
    app.command()(data.preview)
    path = tmp_path / "new" / "sheet.png"
    result = CliRunner().invoke(app, ["digits", "--count", "3", "--split", "test", "--output", str(path)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}\n"
    sheet = import_tensorflow().io.decode_png(path.read_bytes()).numpy()
    assert 300 < sheet.shape[0] < sheet.shape[1]
    assert sheet.std() > 20  # neither blank nor black
    assert [each.name for each in path.parent.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "--count"),
        ({"preprocess_fn": "flip"}, "Unknown preprocessing"),
        ({"split": "val"}, "no split"),
        ({"split": "train[:0%]"}, r"Split train\[:0%\] of dataset digits has no pictures\. Name another"),
        ({"seed": -1}, "Seed"),
        ({"input_shape": (20_000, 20_000, 1), "count": 1}, "1 picture of 20000 x 20000 x 1 does not fit on a sheet"),
    ],
)
def test_bad_requests_write_nothing(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        preview("digits", tmp_path / "sheet.png", **options)
    with pytest.raises(UsageError, match="PNG"):
        preview("digits", tmp_path / "sheet.jpg")
    assert not list(tmp_path.iterdir())
