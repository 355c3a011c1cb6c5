"""The process that runs one of two artifacts for `bopkit verify`: its bits and answers go to files in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import host
from bopkit.artifacts import artifact, checksum
from bopkit.artifacts.keras_config import Vouched
from bopkit.benchmark.runtimes.keras import KerasRuntime
from bopkit.benchmark.runtimes.runtime import Runtime, make_runtime, reference_runtime
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError
from bopkit.export.checks import softmax
from bopkit.export.inspection.contents import BinaryKernel, read_contents
from bopkit.export.network.signature import Port, Ports, partners
from bopkit.export.pictures import batches, on_pixel_grid, shown_to
from bopkit.export.sources.source import load_file, vouched_code

OWN, NOISE, GIVEN = "own", "noise", "given"
"""Pictures of the artifact's own preprocessing, noise, and those of the other artifact."""

KERNELS = "kernels.npz"
_BATCH_SIZE = 32


def run(
    path: str,
    folder: str,
    given: str | None,
    given_inputs: Sequence[dict[str, Any]],
    dataset: str | None,
    data_dir: str | None,
    count: int,
    grid: str | None,
    custom: Sequence[str],
) -> dict[str, Any]:
    """Read and run one artifact.

    Args:
        path: The artifact.
        folder: Where kernels, inputs and outputs go.
        given: The folder of the artifact that ran before this one, whose inputs are shown to this one too.
        given_inputs: The fields of the `Port` of each of them.
        dataset: Name of a dataset for networks that take one picture; None for photographs.
        data_dir: Where prepared datasets lie.
        count: Largest number of pictures.
        grid: Preprocessing inside an artifact that takes uint8 pixels: both see what pixels can stand for; else None.
        custom: Modules of the user's own, whose classes and functions the file may name.

    Returns:
        The fields of `verification.Side`.
    """
    kind, card, resolved = artifact.kind(path), artifact.read_card(path), artifact.resolve(path)
    # Before TensorFlow runs anything, as it sets its threads.
    runtime = make_runtime(kind, host.logical_cores(), reference_runtime(kind))
    with vouched_code(custom) as vouched:
        _open(runtime, resolved, vouched)
        _save_kernels(read_contents(path, vouched).kernels, Path(folder, KERNELS))
    output = (artifact.read_record(path) or {}).get("output")
    is_logits = isinstance(output, dict) and output.get("name") == "logits"
    ports = Ports.described(runtime.inputs, [(name, ()) for name in runtime.outputs])  # shapes come with the answers
    # Not the card's own dataset: both artifacts must see the same pictures.
    shown_by = dataclasses.replace(card, dataset="") if card is not None else None
    real, noise = shown_to(ports, shown_by, dataset, data_dir, count)
    real = real or noise
    if grid is not None and ports.takes_picture:
        of_pixels = get_preprocessing(grid, ports.inputs[0].shape)  # type: ignore[arg-type]
        real, noise = on_pixel_grid(real, of_pixels), on_pixel_grid(noise, of_pixels)
    places = partners(ports.inputs, [Port(**{**each, "shape": tuple(each["shape"])}) for each in given_inputs])
    for name, inputs in ((NOISE, noise.inputs), (OWN, real.inputs)):
        save_arrays(Path(folder), f"{name}_inputs", inputs)
        answers = _answer(runtime, inputs, is_logits, Path(folder), name)
        if given is not None and places is not None:
            others = load_arrays(Path(given), f"{name}_inputs")
            _answer(runtime, tuple(others[place] for place in places), is_logits, Path(folder), f"{GIVEN}_{name}")
    outputs = [(name, each.shape[1:]) for name, each in zip(runtime.outputs, answers, strict=True)]
    ports = Ports.described(runtime.inputs, outputs).with_probabilities(answers)
    return {
        "path": str(resolved),
        "kind": kind,
        "runtime": runtime.name,
        **dataclasses.asdict(ports),
        "preprocessing": card.preprocessing if card is not None else "",
        "untrained": card is not None and not card.trained,
        "has_checksum": checksum.check(resolved),
        "pictures": real.source,
    }


def _open(runtime: Runtime, path: Path, vouched: Vouched) -> None:
    if isinstance(runtime, KerasRuntime):
        runtime.use(load_file(path, vouched).model, path)
    else:
        runtime.open(path)


def _answer(
    runtime: Runtime, inputs: tuple[np.ndarray, ...], is_logits: bool, folder: Path, name: str
) -> list[np.ndarray]:
    """What the artifact answers, probabilities in place of logits, one array an output; it is saved too."""
    answers = [runtime.run(batch) for batch in batches(inputs, _BATCH_SIZE)]
    outputs = [np.concatenate(each) for each in zip(*answers, strict=True)]
    for output, values in zip(runtime.outputs, outputs, strict=True):
        if len(values) != len(inputs[0]) or not np.isfinite(values).all():
            raise BopkitError(
                f"{output} of shape {list(values.shape)} for {len(inputs[0])} examples is not a finite answer to each.",
                "The weights are damaged, or it is no network.",
            )
    outputs = list(map(softmax, outputs)) if is_logits else outputs
    save_arrays(folder, f"{name}_outputs", outputs)
    return outputs


def save_arrays(folder: Path, name: str, arrays: Sequence[np.ndarray]) -> None:
    """Save the inputs or outputs of a network in files of their own, which can be read in parts."""
    for index, each in enumerate(arrays):
        np.save(folder / f"{name}_{index}.npy", each)


def load_arrays(folder: Path, name: str) -> list[np.ndarray]:
    """What `save_arrays` has saved, in its order."""
    count = len(list(folder.glob(f"{name}_*.npy")))
    return [np.load(folder / f"{name}_{index}.npy", mmap_mode="r") for index in range(count)]


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
