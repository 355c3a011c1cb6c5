"""The demo: BinaryNet trained with Bop on the embedded digits, as `make demo` does it, and in little."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import forked, succeeded

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TRAIN = "train binarynet --dataset digits --hparams-set bop_digits --validationset --no-tensorboard".split()
LITTLE = ["--hparams", "epochs=6,filters=32,dense_units=128"]


@dataclasses.dataclass
class Demo:
    """What the export said, the rows of the benchmark (Keras, SavedModel, flatbuffer), and what accuracy to expect."""

    exported: dict
    rows: list
    least_top1: float


@pytest.fixture(scope="module", params=["little", pytest.param("whole", marks=pytest.mark.release)])
def demo(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")

    def run(*arguments):
        return json.loads(succeeded(forked(*arguments, "--json")))

    if request.param == "whole":
        # What the environment is made of is there: `make` need not look whether it is newer.
        make = ["make", "-C", ROOT, "-o", ".venv/.installed", f"BIN={Path(sys.executable).parent}", f"DEMO={folder}"]
        printed = subprocess.run([*make, "demo"], check=True, stdout=subprocess.PIPE, text=True).stdout
        assert all(name in printed for name in ("model.h5", "model.tflite"))
    else:
        run(*TRAIN, *LITTLE, "--output-dir", folder)
    exported = run("export", folder / "model.h5", "--pictures", 364)
    artifacts = [folder / "model.h5", *(each["path"] for each in reversed(exported["artifacts"]))]
    report = run("benchmark", *artifacts, "--dataset", "digits", "--min-seconds", 0)
    return Demo(exported, report["rows"], 0.96 if request.param == "whole" else 0.8)


def test_accuracy_on_pictures_that_no_training_saw(demo):
    for row in demo.rows:
        assert row["pictures"] == 364
        assert row["top1"] >= demo.least_top1


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
