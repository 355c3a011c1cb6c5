"""Mixup and cutmix: each picture of a batch is mixed with the next one, and its label becomes those of both.

Partners are neighbours in the epoch's order, the last picture of a batch with the first: over the global batch, before
it is split for replicas, workers or parts. How much of each a picture gets depends on its seed alone. The larger share
is always the picture's own, so that accuracy by its own label means something; as neighbours are drawn at random, each
pair is as likely as if either share could be the larger one.

Papers: Zhang et al. 2018, arXiv 1710.09412 (mixup); Yun et al. 2019, arXiv 1905.04899 (cutmix).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from bopkit.data.philox import uniform
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions

STREAM = 1
"""Of the random numbers: which way of mixing, the share, and the place of the rectangle."""

QUANTILES = 4097
"""Of the distribution of shares; between them a share is interpolated."""


class MixedLabels(NamedTuple):
    """What mixed pictures show.

    Attributes:
        own: int64 [n], the pictures' own labels: the true ones where accuracy is counted.
        partner: int64 [n], the labels of what was mixed in.
        share: float32 [n], 0.5 to 1: how much of each is its own.
    """

    own: Tensor
    partner: Tensor
    share: Tensor


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How pictures are mixed.

    Attributes:
        mixup: Alpha of the Beta distribution of mixup's shares; 0 for none.
        cutmix: The same of cutmix. Where both are above 0, each picture is mixed in one of the two ways.
    """

    mixup: float
    cutmix: float

    def mix(self, pixels: Tensor, labels: Tensor, seeds: Tensor, own: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Mix each picture with the next one.

        Args:
            pixels: uint8 or float32 [m, H, W, C], 0 to 255.
            labels: int64 [m].
            seeds: int64 [m, 2].
            own: Which pictures are asked for; the others are partners only.

        Returns:
            Pixels [n, H, W, C] of the same type, uint8 rounded to the nearest, and their `MixedLabels`.
        """
        tf = import_tensorflow()
        partner_pixels, partner_labels = (tf.roll(each, -1, axis=0)[own] for each in (pixels, labels))
        pixels, labels, draws = pixels[own], labels[own], uniform(seeds[own], STREAM, 4)
        if not self.cutmix:
            mixed, share = _blended(pixels, partner_pixels, _shares(self.mixup, draws[:, 1]))
        elif not self.mixup:
            mixed, share = _pasted(pixels, partner_pixels, _shares(self.cutmix, draws[:, 1]), draws[:, 2:])
        else:
            blended, blended_share = _blended(pixels, partner_pixels, _shares(self.mixup, draws[:, 1]))
            pasted, pasted_share = _pasted(pixels, partner_pixels, _shares(self.cutmix, draws[:, 1]), draws[:, 2:])
            is_blended = draws[:, 0] < 0.5
            mixed = tf.where(is_blended[:, None, None, None], blended, pasted)
            share = tf.where(is_blended, blended_share, pasted_share)
        return mixed, MixedLabels(labels, partner_labels, share)


def _shares(alpha: float, draws: Tensor) -> Tensor:
    """float32 [n], 0.5 to 1: the larger of x and 1 - x for x of Beta(alpha, alpha), by the inverse of its distribution.

    Args:
        alpha: Above 0.
        draws: float32 [n], 0 to below 1, evenly distributed.
    """
    from scipy.special import betaincinv

    tf = import_tensorflow()
    table = betaincinv(alpha, alpha, np.linspace(0.5, 1, QUANTILES)).clip(0.5, 1)
    place = draws * (QUANTILES - 1)
    below = tf.cast(place, tf.int32)
    low, high = (tf.gather(tf.constant(table, tf.float32), each) for each in (below, below + 1))
    return low + (place - tf.cast(below, tf.float32)) * (high - low)


def _blended(pixels: Tensor, partners: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Mixup: the weighted mean of two pictures."""
    tf = import_tensorflow()
    weight = share[:, None, None, None]
    mean = weight * tf.cast(pixels, tf.float32) + (1 - weight) * tf.cast(partners, tf.float32)
    return (tf.cast(mean + 0.5, tf.uint8) if pixels.dtype == tf.uint8 else mean), share


def _pasted(pixels: Tensor, partners: Tensor, share: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Cutmix: a rectangle of the partner in its place; what lies outside of the picture is cut off.

    Args:
        pixels: [n, H, W, C].
        partners: [n, H, W, C].
        share: float32 [n]: the area that is asked to stay.
        centre: float32 [n, 2], 0 to below 1: where the rectangle lies.

    Returns:
        The pictures, and the share of the area that did stay.
    """
    tf = import_tensorflow()
    is_inside = tf.ones([1, 1, 1], tf.bool)
    area = tf.ones_like(share)
    for axis, size_px in enumerate(pixels.shape[1:3]):
        side = tf.floor(tf.sqrt(1 - share) * size_px)
        begin = tf.floor(centre[:, axis] * size_px) - tf.floor(side / 2)
        place = tf.range(size_px, dtype=tf.float32)
        is_within = (place >= begin[:, None]) & (place < (begin + side)[:, None])  # [n, size]
        area *= tf.reduce_sum(tf.cast(is_within, tf.float32), axis=1)
        is_inside &= is_within[:, :, None] if axis == 0 else is_within[:, None, :]
    height, width = pixels.shape[1:3]
    return tf.where(is_inside[..., None], partners, pixels), 1 - area / (height * width)
