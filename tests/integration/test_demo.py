"""The demo: BinaryNet trained with Bop on the embedded digits, as `make demo` does, in fewer epochs."""

import dataclasses
import json

import pytest
from command_line import forked, succeeded

pytestmark = pytest.mark.integration

TRAIN = [
    *"train binarynet --dataset digits --hparams-set bop_digits --validationset --no-tensorboard".split(),
    *["--hparams", "epochs=24"],
]


@dataclasses.dataclass
class Demo:
    """What the export said, and the rows of the benchmark: Keras, SavedModel, flatbuffer."""

    exported: dict
    rows: list


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder, said = (tmp_path_factory.mktemp(name) for name in ("demo", "said"))

    def run(*arguments):
        return json.loads(succeeded(forked(*arguments, "--json", output=said)))

    run(*TRAIN, "--output-dir", folder)
    exported = run("export", folder / "model.h5", "--pictures", 364)
    artifacts = [folder / name for name in ("model.h5", "model", "model.tflite")]
    report = run("benchmark", *artifacts, "--dataset", "digits", "--min-seconds", 0)
    return Demo(exported, report["rows"])


def test_accuracy_on_pictures_that_no_training_saw(demo):
    for row in demo.rows:
        assert row["pictures"] == 364
        assert row["top1"] >= 0.96


def test_all_artifacts_agree_but_for_near_ties(demo):
    for exported in demo.exported["artifacts"]:
        real = exported["agreements"][0]
        assert (real["source"], real["pictures"]) == ("digits test split", 364)
        assert real["top1"] >= 0.995
        assert all(each["near_tie"] for each in real["disagreements"])
    for row in demo.rows[1:]:
        assert row["top1_agreement"] >= 0.995


def test_the_flatbuffer_is_near_the_floor(demo):
    """Real weights included, and 20 kB for the format: less than a twentieth of the float file."""
    keras, _, tflite = demo.rows
    assert tflite["floor_bytes"] == keras["floor_bytes"]
    assert tflite["size_bytes"] <= tflite["floor_bytes"] + 20_000
    assert tflite["size_bytes"] * 20 < keras["size_bytes"]
