"""The trained networks that come with bopkit: what their files say, that damage is told, and that wheels hold them."""

import json
import math
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bopkit.errors import BopkitError, UsageError
from bopkit.pretrained import list_pretrained, shipped
from bopkit.pretrained.releases import RELEASES
from bopkit.pretrained.shipped import ABOUT, KERNELS, PARTS, read_facts, read_shipped, shipped_names
from bopkit.registry import MODELS

ROOT = Path(__file__).parents[3]
NAMES = shipped_names()


def test_there_is_one():
    assert "binarynet_fashion_mnist" in NAMES
    assert [each.name for each in list_pretrained().models] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_and_whole(name):
    model = read_shipped(name)
    assert {path.name for path in (shipped.ROOT / name).iterdir()} == {ABOUT, *PARTS} == {ABOUT, *model.parts}
    assert all(path.stat().st_size <= 300_000 for path in (shipped.ROOT / name).iterdir())
    values = model.unpacked_weights()
    for weight, array in zip(model.facts.weights, values, strict=True):
        assert array.shape == weight.shape
        assert np.isfinite(array).all()
        assert weight.binary == bool(weight.shape[1:] and (np.abs(array) == 1).all())
        assert not weight.binary or 0 < (array > 0).mean() < 1, weight.name
    binary = sum(math.prod(weight.shape) for weight in model.facts.weights if weight.binary)
    assert binary > 0.9 * sum(array.size for array in values)
    assert model.facts.parts[KERNELS].size_bytes < binary / 8 + len(values)


@pytest.mark.parametrize("name", NAMES)
def test_facts_card_and_config_agree(name):
    """All are of one run, whose figures they have."""
    model = read_shipped(name)
    facts, card = model.facts, model.card
    config = json.loads(model.parts["config.json"])
    assert card.accuracy == {key: facts.epoch_row[key] for key in card.accuracy}
    assert "val_top1" in card.accuracy
    assert 1 <= facts.epoch_row["epoch"] <= config["hparams"]["epochs"]
    hparams = {key: value for key, value in config["hparams"].items() if value is not None}  # as cards have them
    assert (config["model"], config["hparams_set"], hparams, config["preprocessing"], config["seed"]) == (
        *(card.architecture, card.hparams_set, card.hparams, card.preprocessing, facts.seed),
    )
    assert card.architecture == facts.architecture in MODELS.names()
    assert card.dataset == facts.dataset == config["dataset"].partition("/")[0]
    assert (card.trained_on, card.evaluated_on) == (config["train_split"], config["validation_split"])
    assert facts.pictures == 10_000 and facts.split == "test"
    assert 0.5 < facts.top1 <= 1 and facts.flatbuffer_top1 == pytest.approx(facts.top1, abs=1e-3)
    if card.evaluated_on == facts.split:  # training may round otherwise than the check of the export
        assert facts.top1 == pytest.approx(card.accuracy["val_top1"], abs=2e-3)
    assert facts.command.startswith(f"bopkit train {card.architecture} --dataset {card.dataset} ")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_names_the_machine_that_trained_it(name):
    for path in (shipped.ROOT / name).iterdir():
        content = path.read_bytes()
        roots = (b'"/', b'"~') if path.suffix == ".json" else ()  # elsewhere two bytes are there by chance
        for place in (*roots, *(f"/{folder}/".encode() for folder in ("home", "root", "tmp"))):
            assert place not in content, path


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A shipped network that can be damaged."""
    shutil.copytree(shipped.ROOT / NAMES[0], tmp_path / NAMES[0])
    monkeypatch.setattr(shipped, "ROOT", tmp_path)
    return tmp_path / NAMES[0]


@pytest.mark.parametrize("file", [ABOUT, *PARTS])
def test_damaged_files_are_named(copy, file):
    content = bytearray((copy / file).read_bytes())
    for place in (0, len(content) // 2, len(content) - 1):
        damaged = content.copy()
        damaged[place] ^= 1
        (copy / file).write_bytes(damaged)
        with pytest.raises(BopkitError) as error:
            read_shipped(copy.name)
        assert error.value.message == f"{copy / file}, a file of bopkit, is damaged: its checksum is wrong."
        assert error.value.hint == "Install bopkit again."
    (copy / file).write_bytes(content[:-1])
    with pytest.raises(BopkitError, match="checksum is wrong"):
        read_shipped(copy.name)


def test_facts_without_their_checksum_are_damaged(copy):
    (copy / ABOUT).write_text(json.dumps({"facts": json.loads((copy / ABOUT).read_text())["facts"]}))
    with pytest.raises(BopkitError, match="checksum is wrong"):
        read_facts(copy.name)


@pytest.mark.parametrize("file", PARTS)
def test_missing_files_are_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(BopkitError, match=f"{file}, a file of bopkit, cannot be read: No such file"):
        read_shipped(copy.name)


@pytest.mark.parametrize("name", ["binarynet_fashion_mnits", "", "..", "../shipped-networks/binarynet_fashion_mnist"])
def test_unknown_names(name):
    with pytest.raises(UsageError, match="Unknown trained network") as error:
        read_facts(name)
    assert f"Known: {', '.join(NAMES)}. List them with `bopkit pull`." in error.value.hint


@pytest.mark.integration
def test_wheels_hold_every_file(tmp_path):
    pytest.importorskip("setuptools", "77", reason="pyproject.toml asks for setuptools 77")
    for name in ("bopkit", "cli", "export", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    with zipfile.ZipFile(*tmp_path.glob("*.whl")) as wheel:
        for path in (path for name in NAMES for path in (shipped.ROOT / name).iterdir()):
            assert wheel.read(path.relative_to(ROOT).as_posix()) == path.read_bytes()


def test_the_list_is_a_table_in_python():
    found = list_pretrained()
    assert NAMES[0] in repr(found)
    assert found.to_pandas()["name"].tolist() == [*NAMES, *RELEASES]
