"""`make demo`: BinaryNet trained with Bop on the embedded digits, exported and measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import forked, succeeded

pytestmark = pytest.mark.release

ROOT = Path(__file__).parents[2]


LEAST_TOP1 = 0.96


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the export says of the demo's network, and the rows of a benchmark: Keras, SavedModel, flatbuffer."""
    folder = tmp_path_factory.mktemp("demo")

    def run(*arguments):
        return json.loads(succeeded(forked(*arguments, "--json")))

    # What the environment is made of is there: `make` need not look whether it is newer.
    make = ["make", "-C", ROOT, "-o", ".venv/.installed", f"BIN={Path(sys.executable).parent}", f"DEMO={folder}"]
    printed = subprocess.run([*make, "demo"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert all(name in printed for name in ("model.h5", "model.tflite"))
    exported = run("export", folder / "model.h5", "--pictures", 364)
    artifacts = [folder / "model.h5", *(each["path"] for each in reversed(exported["artifacts"]))]
    report = run("benchmark", *artifacts, "--dataset", "digits", "--min-seconds", 0)
    return exported["artifacts"], report["rows"]


def test_accuracy_on_pictures_that_no_training_saw(demo):
    _, rows = demo
    for row in rows:
        assert row["pictures"] == 364
        assert row["top1"] >= LEAST_TOP1


def test_all_artifacts_agree_but_for_near_ties(demo):
    artifacts, rows = demo
    for exported in artifacts:
        real = exported["agreements"][0]
        assert (real["source"], real["pictures"]) == ("digits test split", 364)
        assert real["top1"] >= 0.995
        assert all(each["near_tie"] for each in real["disagreements"])
    for row in rows[1:]:
        assert row["top1_agreement"] >= 0.995


def test_the_flatbuffer_is_near_the_floor(demo):
    """Real weights included, and 20 kB for the format: less than a twentieth of the float file."""
    _, (keras, _, tflite) = demo
    assert tflite["floor_bytes"] == keras["floor_bytes"]
    assert tflite["size_bytes"] <= tflite["floor_bytes"] + 20_000
    assert tflite["size_bytes"] * 20 < keras["size_bytes"]
