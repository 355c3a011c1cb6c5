"""The demo: BinaryNet trained with Bop on the embedded digits, on two seeds; `make demo` runs the first."""

import dataclasses
import json
import os

import pytest
from command_line import bopkit, start_bopkit, succeeded

pytestmark = pytest.mark.integration

SEEDS = (0, 1)
TRAIN = "train binarynet --dataset digits --hparams-set bop_digits --validationset --no-tensorboard".split()


@dataclasses.dataclass
class Demo:
    """The folder of seed 0's run, its export, and the rows of the benchmark."""

    exported: dict
    seed_0: list
    other_seeds: list


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    # Side by side, one thread each: threads of several runs on few cores wait for each other.
    one_thread = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    runs = [start_bopkit(*TRAIN, "--seed", s, "--output-dir", folder / str(s), env=one_thread) for s in SEEDS]
    for run in runs:
        _, stderr = run.communicate()
        assert run.returncode == 0, stderr
    exported = json.loads(succeeded(bopkit("export", folder / "0" / "model.h5", "--pictures", 364, "--json")))
    artifacts = [folder / "0" / name for name in ("model.h5", "model", "model.tflite")]
    artifacts += [folder / str(seed) / "model.h5" for seed in SEEDS[1:]]
    report = json.loads(succeeded(bopkit("benchmark", *artifacts, "--dataset", "digits", "--json")))
    return Demo(exported, report["rows"][:3], report["rows"][3:])


def test_accuracy_on_pictures_that_no_training_saw(demo):
    assert all(row["pictures"] == 364 for row in (*demo.seed_0, *demo.other_seeds))
    top1 = [demo.seed_0[0]["top1"], *(row["top1"] for row in demo.other_seeds)]
    assert all(each >= 0.96 for each in top1)  # so the median of three would be too, whatever the third is


def test_all_artifacts_agree_but_for_near_ties(demo):
    for exported in demo.exported["artifacts"]:
        real = exported["agreements"][0]
        assert (real["source"], real["pictures"]) == ("digits test split", 364)
        assert real["top1"] >= 0.995
        assert all(each["near_tie"] for each in real["disagreements"])
    for row in demo.seed_0[1:]:
        assert row["top1_agreement"] >= 0.995


def test_the_flatbuffer_is_near_the_floor(demo):
    """Real weights included, and 20 kB for the format: less than a twentieth of the float file."""
    keras, _, tflite = demo.seed_0
    assert tflite["floor_bytes"] == keras["floor_bytes"]
    assert tflite["size_bytes"] <= tflite["floor_bytes"] + 20_000
    assert tflite["size_bytes"] * 20 < keras["size_bytes"]
