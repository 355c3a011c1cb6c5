"""Weights that others have released for networks of the catalogue: where they are, whose, how good.

Those of Larq Zoo (github.com/larq/zoo, Apache-2.0), whose code trained them on ImageNet with latent weights. Addresses
and checksums are those of larq-zoo 2.4; accuracies those of docs.larq.dev/zoo, which bopkit has not measured.
"""

from __future__ import annotations

import dataclasses

LARQ_ZOO = "https://github.com/larq/zoo/releases/download"


@dataclasses.dataclass(frozen=True)
class Release:
    """Weights of a network as a Keras HDF5 file on a server; plain JSON values.

    Attributes:
        name: As users type it.
        folder: Of the release, below the address of all.
        file: Name of the file, which `save_weights` wrote.
        sha256: SHA-256 of its content, 64 hexadecimal digits.
        top1: Published share of the validation pictures whose class has the highest score, 0 to 1.
        top5: Likewise of those whose class is among the five highest scores.
        architecture: Name of the network in the catalogue; its set `latent` has the same weights.
        kernel_quantizer: What makes its binary kernels of the latent ones, as larq names it; empty where that is what
            the architecture has.
        dataset: Name of the dataset that it was trained on.
        split: Split that accuracy was measured on.
        preprocessing: Name of ours that makes the input that it was trained with.
        publisher: Who trained and published it.
        licence: Licence of the weights, as an SPDX identifier.
    """

    name: str
    folder: str
    file: str
    sha256: str
    top1: float
    top5: float
    architecture: str
    kernel_quantizer: str = ""
    dataset: str = "imagenet2012"
    split: str = "validation"
    preprocessing: str = "imagenet"
    publisher: str = "Larq (Plumerai)"
    licence: str = "Apache-2.0"

    def address(self, mirror: str | None = None) -> str:
        """Where the file is: below the address of Larq Zoo's releases, or of a copy of them."""
        return f"{(mirror or LARQ_ZOO).rstrip('/')}/{self.folder}/{self.file}"


def _larq_zoo(name: str, folder: str, file: str, sha256: str, top1: float, top5: float, quantizer: str = "") -> Release:
    return Release(name, folder, f"{file}_weights.h5", sha256, top1, top5, name, quantizer)


_ALL = (
    _larq_zoo(
        *("quicknet_small", "quicknet-v1.0", "quicknet_small"),
        *("1ac3b07df7f5a911dd0b49febb2486428ddf1ca130297c403815dfae5a1c71a2", 0.594, 0.818),
    ),
    _larq_zoo(
        *("quicknet", "quicknet-v1.0", "quicknet"),
        *("8aba9e4e5f8d342faef04a0b2ae8e562da57dbb7d15162e8b3e091c951ba756c", 0.633, 0.846),
    ),
    _larq_zoo(
        *("quicknet_large", "quicknet-v1.0", "quicknet_large"),
        *("c5158e8a59147b31370becd937825f4db8a5cdf308314874f678f596629be45c", 0.669, 0.870),
    ),
    _larq_zoo(
        *("binary_resnet_e18", "resnet_e-v0.1.0", "resnet_e_18"),
        *("bde4a64d42c164a7b10a28debbe1ad5b287c499bc0247ecb00449e6e89f3bf5b", 0.5832, 0.8079),
    ),
    _larq_zoo(
        *("binary_densenet28", "binary_densenet-v0.1.0", "binary_densenet_28"),
        *("21fe3ca03eed244df9c41a2219876fcf03e73800932ec96a3e2a76af4747ac53", 0.6091, 0.8283),
    ),
    _larq_zoo(
        *("binary_densenet37", "binary_densenet-v0.1.0", "binary_densenet_37"),
        *("8056a5d52c3ed86a934893987d09a06f59a5166aa9bddcaedb050f111d0a7d76", 0.6289, 0.8419),
    ),
    _larq_zoo(
        *("binary_densenet37_dilated", "binary_densenet-v0.1.0", "binary_densenet_37_dilated"),
        *("15c1bcd79b8dc22971382fbf79acf364a3f51049d0e584a11533e6fdbb7363d3", 0.6434, 0.8515),
    ),
    _larq_zoo(
        *("binary_densenet45", "binary_densenet-v0.1.0", "binary_densenet_45"),
        *("d00a0d26fbd2dba1bfba8c0306c770f3aeea5c370e99f963bb239bd916f72c37", 0.6459, 0.8521),
    ),
    _larq_zoo(
        *("meliusnet22", "meliusnet22-v0.1.0", "meliusnet22"),
        *("c1ba85e8389ae326009665ec13331e49fc3df4d0f925fa8553e224f7362c18ed", 0.624, 0.839),
    ),
    _larq_zoo(
        *("real_to_binary", "r2b-v0.1.0", "r2b"),
        *("e8fd16ca1ab9810ac3835f24f5c62758a57bc32a615f73aaa50d382d2b9617e1", 0.6501, 0.8572),
    ),
    _larq_zoo(
        *("birealnet", "birealnet-v0.3.0", "birealnet"),
        *("6e6efac1584fcd60dd024198c87f42eb53b5ec719a5ca1f527e1fe7e8b997117", 0.5747, 0.7984),
        "magnitude_aware_sign",
    ),
)

RELEASES: dict[str, Release] = {release.name: release for release in _ALL}
"""By name."""
