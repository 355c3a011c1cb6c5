"""Hyper-parameter sets that the paper's three ImageNet networks share (arXiv 1906.02107)."""

from __future__ import annotations

from bopkit.hparams import HParams


def bop(epochs: int) -> HParams:
    """Bop with gamma and Adam's learning rate decaying linearly over the whole run.

    Args:
        epochs: The only setting that differs between the networks.
    """
    return HParams(
        epochs=epochs,
        batch_size=1024,
        threshold=1e-8,
        gamma=1e-4,
        gamma_end=1e-6,
        learning_rate=2.5e-3,
        learning_rate_end=5e-6,
    )
