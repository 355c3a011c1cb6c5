"""The process that runs one of two artifacts for `bopkit verify`: its bits and scores go to files in a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import artifact, checksum
from bopkit.benchmark import host
from bopkit.benchmark.runtime import Runtime, make_runtime
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError
from bopkit.export.inspection.contents import BinaryKernel, read_contents
from bopkit.export.pictures import on_pixel_grid, random_pictures, real_pictures
from bopkit.export.spec import RANDOM_PICTURES
from bopkit.export.verify import softmax

OWN, NOISE, GIVEN = "own", "noise", "given"
"""Pictures of the artifact's own preprocessing, noise, and those of the other artifact."""

KERNELS = "kernels.npz"
_BATCH_SIZE = 32


def run(
    path: str,
    folder: str,
    given: str | None,
    dataset: str | None,
    data_dir: str | None,
    count: int,
    grid: str | None,
) -> dict[str, Any]:
    """Read and run one artifact.

    Args:
        path: The artifact.
        folder: Where kernels, pictures and scores go.
        given: The folder of the artifact that ran before this one, whose pictures are shown to this one too.
        dataset: Name of a dataset; None for photographs.
        data_dir: Where prepared datasets lie.
        count: Largest number of pictures.
        grid: Preprocessing inside an artifact that takes uint8 pixels: both see what pixels can stand for; else None.

    Returns:
        The fields of `verification.Side`.
    """
    kind, card, resolved = artifact.kind(path), artifact.read_card(path), artifact.resolve(path)
    runtime = make_runtime(kind, host.logical_cores())  # before TensorFlow runs anything, as it sets its threads
    runtime.load(resolved)
    _save_kernels(read_contents(path).kernels, Path(folder, KERNELS))
    output = (artifact.read_record(path) or {}).get("output")
    is_logits = isinstance(output, dict) and output.get("name") == "logits"
    # Not the card's own dataset: both artifacts must see the same pictures.
    shown_by = dataclasses.replace(card, dataset="") if card is not None else None
    real = real_pictures(runtime.input_shape, shown_by, dataset, data_dir, count)
    noise = random_pictures(runtime.input_shape, card, RANDOM_PICTURES)
    if grid is not None:
        of_pixels = get_preprocessing(grid, runtime.input_shape)
        real, noise = on_pixel_grid(real, of_pixels), on_pixel_grid(noise, of_pixels)
    for name, images in ((OWN, real.images), (NOISE, noise.images)):
        np.save(Path(folder, f"{name}_images.npy"), images)
        classes = _predict(runtime, images, is_logits, Path(folder, name))
        if given is not None:
            others = np.load(Path(given, f"{name}_images.npy"))
            if others.shape[1:] == tuple(runtime.input_shape):
                _predict(runtime, others, is_logits, Path(folder, f"{GIVEN}_{name}"))
    return {
        "path": str(resolved),
        "kind": kind,
        "runtime": runtime.name,
        "input_shape": runtime.input_shape,
        "classes": classes,
        "preprocessing": card.preprocessing if card is not None else "",
        "untrained": card is not None and not card.trained,
        "has_checksum": checksum.check(resolved),
        "pictures": real.source,
    }


def _predict(runtime: Runtime, images: np.ndarray, is_logits: bool, name: Path) -> int:
    """Write the probabilities of the pictures to `<name>_scores.npy`; the number of classes."""
    batches = [images[start : start + _BATCH_SIZE] for start in range(0, len(images), _BATCH_SIZE)]
    scores = np.concatenate([runtime.predict(batch) for batch in batches])
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise BopkitError(
            f"{name.name}: scores of shape {list(scores.shape)} are not finite numbers, one row a picture.",
            "The weights are damaged, or it is no classifier.",
        )
    np.save(name.with_name(f"{name.name}_scores.npy"), softmax(scores) if is_logits else scores)
    return scores.shape[1]


def _save_kernels(kernels: tuple[BinaryKernel, ...], path: Path) -> None:
    facts = [(each.name, each.weights_per_output, each.may_be_negated, each.packed) for each in kernels]
    names, weights, negated, packed = zip(*facts, strict=True) if facts else ((), (), (), ())
    bits = {f"bits_{index}": each.negative for index, each in enumerate(kernels)}
    np.savez(path, names=np.array(names, np.str_), weights=weights, negated=negated, packed=packed, **bits)


def load_kernels(path: Path) -> tuple[BinaryKernel, ...]:
    """Read what `run` left at `KERNELS` in its folder."""
    with np.load(path) as stored:
        facts = zip(stored["names"], stored["weights"], stored["negated"], stored["packed"], strict=True)
        return tuple(
            BinaryKernel(str(name), stored[f"bits_{index}"], int(weights), bool(negated), bool(packed))
            for index, (name, weights, negated, packed) in enumerate(facts)
        )
