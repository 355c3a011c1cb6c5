import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).parent))  # for `standins` and `tiny`; importlib mode adds nothing itself

import pytest
import standins


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """CIFAR-10 and ImageNet stand-ins, prepared by TFDS's own builders without a network."""
    folder = tmp_path_factory.mktemp("tfds")
    standins.prepare_cifar10(folder, train=300, test=60)
    standins.prepare_imagenet2012(folder, classes=4, train_per_class=12, validation=16)
    return folder
