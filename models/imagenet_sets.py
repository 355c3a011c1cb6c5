"""Hyper-parameter sets that the ImageNet networks share.

`bop` is that of Helwegen et al. 2019 (arXiv 1906.02107), `bop2nd` that of Suarez-Ramirez et al. 2021 (arXiv
2104.05124, the set `bop2ndOrder_ImageNet` of its code). For `cema`, `bold` and `latent` we know of no published
settings for these networks: our choice.
"""

from __future__ import annotations

from bopkit.hparams import HParams

_ADAM = {"learning_rate": 2.5e-3, "learning_rate_end": 5e-6}


def bop(epochs: int) -> HParams:
    """Bop with gamma and Adam's learning rate decaying linearly over the whole run.

    Args:
        epochs: The only setting that differs between the networks.
    """
    return HParams(epochs=epochs, batch_size=1024, threshold=1e-8, gamma=1e-4, gamma_end=1e-6, **_ADAM)


def bop2nd(epochs: int) -> HParams:
    """Second-order Bop, biased: gamma and the learning rate fall, sigma and tau rise, all linearly.

    Args:
        epochs: The only setting that differs between the networks.
    """
    return HParams(
        optimizer="bop2nd",
        epochs=epochs,
        batch_size=1024,
        threshold=1e-8,
        threshold_end=1e-5,
        gamma=1e-4,
        gamma_end=1e-9,
        sigma=1e-5,
        sigma_end=1e-2,
        **_ADAM,
    )


def cema(epochs: int) -> HParams:
    """Cascaded moving averages with the linear decay of its paper's ImageNet runs (arXiv 2303.02452).

    Args:
        epochs: The only setting that differs between the networks.
    """
    return HParams(optimizer="cema", epochs=epochs, batch_size=1024, gamma=0.1, alpha=1e-3, alpha_end=1e-6, **_ADAM)


def bold(epochs: int) -> HParams:
    """BOLD that flips at first where Bop's set does: at a summed gradient of tau / gamma, 1e-4, so eta is 1e4.

    Args:
        epochs: The only setting that differs between the networks.
    """
    return HParams(
        optimizer="bold", epochs=epochs, batch_size=1024, eta=1e4, eta_schedule="cosine", eta_end=1e2, **_ADAM
    )


def latent(epochs: int) -> HParams:
    """Latent weights: Adam on all variables, at the learning rates that Bop's set gives the real ones.

    Args:
        epochs: The only setting that differs between the networks.
    """
    return HParams(optimizer="latent", epochs=epochs, batch_size=1024, **_ADAM)


def of_paper(
    epochs: int,
    batch_size: int,
    learning_rate: float = _ADAM["learning_rate"],
    schedule: str = "cosine",
    warmup_epochs: int | None = None,
) -> dict[str, HParams]:
    """One set an optimizer for a network that was published with latent weights; what flips kernels is our choice.

    Args:
        epochs: Of the published training, unless the network's file says that they are our choice.
        batch_size: Likewise.
        learning_rate: Adam's; as published, where the network was trained with Adam alone.
        schedule: How it falls to near zero, and with it gamma, alpha and eta.
        warmup_epochs: In which Adam's learning rate rises to its value; None for none.
    """
    sets = {"bop": bop(epochs), "bop2nd": bop2nd(epochs), "cema": cema(epochs), "bold": bold(epochs)}
    sets["latent"] = latent(epochs)
    shared = {"batch_size": batch_size, "learning_rate": learning_rate, "learning_rate_warmup_epochs": warmup_epochs}
    rates = {"bop": ("gamma",), "bop2nd": ("gamma",), "cema": ("alpha",), "bold": ("eta",)}
    return {
        name: hparams.model_copy(
            update={**shared, **{f"{rate}_schedule": schedule for rate in ("learning_rate", *rates.get(name, ()))}}
        )
        for name, hparams in sets.items()
    }
