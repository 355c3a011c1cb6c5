"""Datasets on disk: prepared from the files that a user fetches, and damaged afterwards."""

import os
import shutil

import pytest
import standins
from command_line import failed, forked, succeeded

pytestmark = pytest.mark.integration

WNIDS = ["n01440764", "n01443537"]


def test_imagenet_from_its_two_tar_files(tmp_path):
    standins.write_ilsvrc_tars(tmp_path / "downloads" / "manual", WNIDS, train_per_class=3, validation=4)
    command = ["prepare", "imagenet2012", "--data-dir", tmp_path]
    result = forked(*command)
    assert succeeded(result) == "imagenet2012 is ready: 1000 classes, input 224 x 224 x 3\n"
    assert f"preparing imagenet2012 in {tmp_path}" in result.stderr
    before = modified(tmp_path / "imagenet2012")
    assert any("validation.tfrecord" in name for name in before)
    again = forked(*command)
    assert succeeded(again) == result.stdout
    assert again.stderr == f"Next: bopkit train birealnet --dataset imagenet2012 --data-dir {tmp_path}\n"
    assert modified(tmp_path / "imagenet2012") == before


def test_imagenet_from_a_cut_tar_file(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    standins.write_ilsvrc_tars(manual, WNIDS, train_per_class=3, validation=4)
    os.truncate(manual / "ILSVRC2012_img_train.tar", 40_000)
    line = failed(forked("prepare", "imagenet2012", "--data-dir", tmp_path))
    assert "could not be prepared" in line
    assert f"Check the files in {manual}" in line
    assert not list(tmp_path.glob("imagenet2012/**/*.tfrecord*"))


def modified(folder):
    """When each file was last written."""
    return {str(path): os.stat(path).st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", ["flip", pytest.param("remove", marks=pytest.mark.release)])
def test_a_damaged_dataset(damage, data_dir, tmp_path):
    shutil.copytree(data_dir / "cifar10", tmp_path / "cifar10")
    (shard,) = tmp_path.glob("cifar10/*/cifar10-train.tfrecord*")
    whole = shard.read_bytes()
    middle = len(whole) // 2
    if damage == "flip":
        shard.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    else:
        shard.unlink()
    options = "--dataset cifar10 --hparams batch_size=50,filters=4,dense_units=8".split()
    folders = ["--data-dir", tmp_path, "--output-dir", tmp_path / "run"]
    line = failed(forked("train", "binarynet", *options, *folders))
    assert f"Dataset cifar10 cannot be read: {shard} is " in line
    assert f"bopkit data prepare cifar10 --data-dir {tmp_path}" in line
    assert not (tmp_path / "run" / "model.h5").exists()
