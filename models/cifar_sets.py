"""Hyper-parameter sets that the networks for small pictures share. All settings are our choice."""

from __future__ import annotations

from bopkit.hparams import HParams

_SHARED = {
    "epochs": 200,
    "batch_size": 128,
    "learning_rate": 1e-2,
    "learning_rate_end": 1e-5,
    "learning_rate_schedule": "cosine",
    "learning_rate_warmup_epochs": 5,
}


def sets() -> dict[str, HParams]:
    """One set an optimizer: rates fall to near zero by a cosine, after five epochs of warm-up of Adam's."""
    return {
        "bop": HParams(threshold=1e-8, gamma=1e-3, gamma_end=1e-5, gamma_schedule="cosine", **_SHARED),
        "bop2nd": HParams(
            optimizer="bop2nd",
            threshold=1e-3,
            gamma=1e-3,
            gamma_end=1e-5,
            gamma_schedule="cosine",
            sigma=1e-3,
            **_SHARED,
        ),
        "cema": HParams(optimizer="cema", gamma=2e-2, alpha=1e-3, alpha_end=1e-5, alpha_schedule="cosine", **_SHARED),
        "bold": HParams(optimizer="bold", eta=1e4, eta_end=1e2, eta_schedule="cosine", **_SHARED),
        "latent": HParams(optimizer="latent", **{**_SHARED, "learning_rate": 5e-3}),
    }
