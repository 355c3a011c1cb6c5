"""The batches that a run trains on, from its options."""

import numpy as np
import pytest

from bopkit.data.mixing import MixedLabels
from bopkit.errors import UsageError
from bopkit.progress import silent
from bopkit.runs.directory import Place
from bopkit.training.options import TrainOptions
from bopkit.training.pipelines import distributed_training_batches
from bopkit.training.plan import plan_run

RECIPE = {"mixup": 0.4, "cutmix": 1.0, "random_erasing": 0.5, "randaugment_count": 1}


def first_batches(accumulate, hparams):
    """Pixels and labels of the first two batches of the second epoch."""
    options = TrainOptions(
        model="tiny.network",
        dataset="digits",
        hparams_set="bop_digits",
        hparams={"epochs": 2, "batch_size": 32, **hparams},
        validationset=True,
        device="cpu",
        accumulate=accumulate,
    )
    batches = iter(distributed_training_batches(plan_run(options, silent), Place(1, 0), silent))
    return [next(batches) for _ in range(2)]


@pytest.mark.integration
def test_a_batch_in_parts_is_mixed_before_it_is_split():
    whole, in_parts = first_batches(1, RECIPE), first_batches(2, RECIPE)
    for (pixels, labels), (other_pixels, other_labels) in zip(whole, in_parts, strict=True):
        assert isinstance(labels, MixedLabels) and pixels.shape == (32, 32, 32, 1)
        np.testing.assert_array_equal(other_pixels, pixels)
        for ours, theirs in zip(other_labels, labels, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    plain = first_batches(1, {})
    assert plain[0][1].dtype == "int64"
    np.testing.assert_array_equal(plain[0][1], whole[0][1].own)
    assert not np.array_equal(plain[0][0], whole[0][0])


def test_a_batch_of_one_picture_is_not_mixed_with_itself():
    with pytest.raises(UsageError, match="cutmix mixes .* and batch_size is 1.* leave cutmix out"):
        first_batches(1, {"batch_size": 1, "cutmix": 1.0})


def test_a_strength_of_no_operations_is_refused():
    with pytest.raises(UsageError, match="randaugment_magnitude has no effect .* randaugment_count=2"):
        first_batches(1, {"randaugment_magnitude": 9.0})
    first_batches(1, {"randaugment_magnitude": 9.0, "randaugment_count": 0})
