"""What artifacts are compared with: a network that cannot be compared is refused, and some are asked one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.errors import BopkitError
from bopkit.export.options import ExportOptions
from bopkit.export.reference import BATCH_SIZE, Reference, compute_reference
from bopkit.keras2 import import_tensorflow
from bopkit.progress import silent


def reference_of(network: Any, folder: Path) -> Reference:
    network.save(folder / "net.h5")
    reference, _ = compute_reference(folder / "net.h5", ExportOptions(pictures=4), silent)
    return reference


def network(of_map: Any) -> Any:
    """A convolution, and what is made of its answers."""
    tf = import_tensorflow()
    pictures = tf.keras.Input((6, 6, 3))
    return tf.keras.Model(pictures, tf.keras.layers.Flatten()(of_map(tf.keras.layers.Conv2D(4, 3)(pictures))))


def test_a_network_that_mixes_its_batch_is_asked_one_picture_at_a_time(tmp_path: Path) -> None:
    tf = import_tensorflow()
    assert reference_of(network(lambda x: x / tf.reduce_mean(tf.abs(x))), tmp_path).batch_size == 1
    assert reference_of(network(tf.nn.relu), tmp_path).batch_size == BATCH_SIZE


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tf = import_tensorflow()
    with pytest.raises(BopkitError, match="answers with NaN or infinite numbers"):
        reference_of(network(lambda x: tf.math.log(x)), tmp_path)
    diverged = network(tf.nn.relu)
    diverged.set_weights([np.full(each.shape, np.nan) for each in diverged.get_weights()])
    with pytest.raises(BopkitError, match=r"weights that are NaN: conv2d.*/kernel:0 and 1 more") as error:
        reference_of(diverged, tmp_path)
    assert "diverged" in error.value.hint
