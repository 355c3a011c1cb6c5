"""Damage artifacts and look at what bopkit makes of them.

    python tests/fuzz.py --kind tflite --files 2000 --seed 0
    python tests/fuzz.py --kind tflite --files 2000 --seed 0 --foreign

Each file is inspected, loaded and run on fixed pictures. What bopkit does in the user's own process runs in one child
that is kept alive; what it leaves to a process of its own (TensorFlow's and LCE's run of a stranger's graph) in
another. Counted are:

    refused    one clear line
    isolated   the process that runs artifacts died; the user gets one clear line
    harmless   no error, and the scores of the undamaged file to the last bit
    silent     no error, and other scores
    crashes    the user's process died, or raised what is no clear line
    hangs      one of the two needed longer than `--timeout`

Crashes and hangs must be zero, and silent successes too for artifacts that bopkit wrote, as they carry a checksum.
`--foreign` damages the same network as other tools save it, without one: there a changed weight cannot be seen, and
`bopkit inspect` says so. Exit code 1 if a number that must be zero is not.
"""

from __future__ import annotations

import argparse
import collections
import math
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import isolation
from bopkit.artifacts import artifact, checksum
from bopkit.errors import BopkitError

KINDS = ("tflite", "h5", "keras", "savedmodel")
MEMORY_LIMIT_BYTES = 24 << 30
"""Of address space: a damaged size must be an error on a machine where other people work too."""

INPUT_SHAPE = (8, 8, 3)

USER = "(user's process)"
"""Tells the death of that process from the death of one that it started."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Damage artifacts and look at what bopkit makes of them.")
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="Stop after so long, whatever --files says.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--foreign", action="store_true", help="Files without a checksum.")
    parser.add_argument("--timeout", type=float, default=60.0, help="Seconds; more on a machine that is busy.")
    parser.add_argument("--keep", type=Path, help="Folder for the files of crashes, hangs and silent successes.")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    foreign = options.foreign or options.kind == "keras"  # bopkit writes no .keras files; their zip has checksums
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="bopkit-fuzz-") as scratch, isolation.Child() as user:
        with isolation.Child() as runner:
            intact = Path(user.call("fuzz:make", options.kind, foreign, scratch, subject="the network"))
            expected = run(user, runner, intact, options.timeout)[1]
            assert expected is not None, "the undamaged file does not run"
            ends_s = time.monotonic() + options.seconds
            for index in range(options.files):
                if time.monotonic() > ends_s:
                    break
                generator = np.random.default_rng((options.seed, index))
                damaged, what = damage_copy(intact, Path(scratch, "damaged"), generator)
                outcome, scores = run(user, runner, damaged, options.timeout)
                if scores is not None:
                    outcome = "harmless" if np.array_equal(scores, expected, equal_nan=True) else "silent"
                counts[outcome.partition(":")[0]] += 1
                if outcome.startswith(("crashes", "hangs")) or outcome == "silent" and not foreign:
                    print(f"file {index}, {what}: {outcome}", flush=True)
                    if options.keep:
                        options.keep.mkdir(parents=True, exist_ok=True)
                        keep(damaged, options.keep / f"{options.kind}-{options.seed}-{index}{damaged.suffix}")
            starts = f"{user.starts} user processes, {runner.starts} running processes"
    names = ("refused", "isolated", "harmless", "silent", "crashes", "hangs")
    figures = ", ".join(f"{name} {counts[name]}" for name in names)
    whose = "foreign" if foreign else "bopkit's"
    print(f"{options.kind} ({whose}), {options.files} files, seed {options.seed}: {figures}; {starts}")
    wrong = counts["crashes"] + counts["hangs"] + (0 if options.kind != "keras" and foreign else counts["silent"])
    return 1 if wrong else 0


def keep(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(path, target)


def run(user: isolation.Child, runner: isolation.Child, path: Path, timeout_s: float) -> tuple[str, np.ndarray | None]:
    """What bopkit makes of a file: an outcome, and its scores if there was no error."""
    try:
        scores = user.call("fuzz:as_user", str(path), subject=USER, timeout_s=timeout_s)
    except BopkitError as error:
        if USER in error.message:
            return ("hangs: " if "needed more than" in error.message else "crashes: ") + error.message, None
        return ("crashes: " + str(error) if "looks like a bug" in error.hint else "refused"), None
    if scores is None:
        try:
            scores = runner.call("fuzz:as_runner", str(path), subject=str(path), timeout_s=timeout_s)
        except BopkitError as error:
            if "needed more than" in error.message:
                return f"hangs: {error.message}", None
            return ("isolated" if error.message.startswith("The process that read") else "refused"), None
    return "ran", np.array(scores, np.float32)


def damage_copy(intact: Path, target: Path, generator: np.random.Generator) -> tuple[Path, str]:
    """A damaged copy of a file or directory, and what was done to it."""
    if intact.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(intact, target)
        files = sorted(path for path in target.rglob("*") if path.is_file() and path.stat().st_size)
        victim = files[generator.integers(len(files))]
    else:
        victim = target = target.with_suffix(intact.suffix)
        shutil.copyfile(intact, target)
    data, what = damage(victim.read_bytes(), generator)
    victim.write_bytes(data)
    return target, f"{victim.name}: {what}"


def damage(data: bytes, generator: np.random.Generator) -> tuple[bytes, str]:
    """`data` with one to three kinds of damage of random size and place."""
    steps = generator.choice(list(DAMAGES), size=generator.integers(1, 4) if generator.random() < 0.3 else 1)
    content = np.frombuffer(data, np.uint8).copy()
    for step in steps:
        if len(content) > 8:
            content = DAMAGES[step](content, generator)
    return content.tobytes(), "+".join(steps)


def flip_bits(content: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    for position in generator.integers(0, len(content), generator.integers(1, 9)):
        content[position] ^= np.uint8(1 << generator.integers(8))
    return content


def overwrite_run(content: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    start, length = some_range(content, generator)
    content[start : start + length] = generator.integers(0, 256, length)
    return content


def cut(content: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return content[: generator.integers(0, len(content))]


def swap_ranges(content: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    start, length = some_range(content, generator)
    other = generator.integers(0, len(content) - length + 1)
    first, second = content[start : start + length].copy(), content[other : other + length].copy()
    content[other : other + length] = first
    content[start : start + length] = second
    return content


def zero_range(content: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    start, length = some_range(content, generator)
    content[start : start + length] = 0
    return content


def grow_integer(content: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Sizes, counts and offsets that are too large; half of them where formats keep those, at the start."""
    end = len(content) - 4 if generator.random() < 0.5 else min(len(content) - 4, 2048)
    position = int(generator.integers(0, end + 1)) & ~3
    value = int(content[position : position + 4].view("<u4")[0])
    grown = generator.choice([value + 1, value * 2, value + 65536, 0x7FFFFFFF, 0xFFFFFFFF]) & 0xFFFFFFFF
    content[position : position + 4] = np.frombuffer(int(grown).to_bytes(4, "little"), np.uint8)
    return content


def some_range(content: np.ndarray, generator: np.random.Generator) -> tuple[int, int]:
    """Start and length of a range, short ones as likely as long ones."""
    length = min(int(2 ** generator.uniform(0, 12)), len(content) // 2)
    return int(generator.integers(0, len(content) - length + 1)), length


DAMAGES = {
    "bits": flip_bits,
    "run": overwrite_run,
    "cut": cut,
    "swap": swap_ranges,
    "zeros": zero_range,
    "grown": grow_integer,
}


def make(kind: str, foreign: bool, folder: str) -> str:
    """Write the undamaged artifact; in a child, as this process should stay without TensorFlow."""
    import larq

    from bopkit.artifacts.card import ModelCard
    from bopkit.artifacts.keras_file import save_model
    from bopkit.export import ExportOptions, export_model
    from bopkit.keras2 import import_tensorflow

    tf = import_tensorflow()
    tf.keras.utils.set_random_seed(1)
    binary: dict[str, Any] = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "use_bias": False}
    model = tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer(INPUT_SHAPE),
            larq.layers.QuantConv2D(32, 3, **binary),
            tf.keras.layers.BatchNormalization(scale=False),
            larq.layers.QuantConv2D(32, 3, input_quantizer="ste_sign", **binary),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.Flatten(),
            larq.layers.QuantDense(10, input_quantizer="ste_sign", **binary),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.Activation("softmax"),
        ]
    )
    names = tuple(f"class {index}" for index in range(10))
    card = ModelCard("fuzz", INPUT_SHAPE, (-1.0, 1.0), "resize", class_names=names)
    path = Path(folder, "model.h5")
    save_model(model, card, path)
    if kind == "h5":
        if foreign:
            model.save(path, include_optimizer=False)
        return str(path)
    if kind == "keras":
        model.save(path.with_suffix(".keras"))
        return str(path.with_suffix(".keras"))
    if kind == "tflite" and foreign:
        import larq_compute_engine

        path.with_suffix(".tflite").write_bytes(larq_compute_engine.convert_keras_model(model))
        return str(path.with_suffix(".tflite"))
    options = ExportOptions(tflite=kind == "tflite", savedmodel=kind == "savedmodel", pictures=8)
    (written,) = export_model(path, options=options).artifacts
    if foreign:
        Path(written.path, checksum.MANIFEST).unlink()
    return written.path


def as_user(path: str) -> list[list[float]] | None:
    """What `bopkit inspect` and, for Keras files, `evaluate` and `export` do in the user's process."""
    from bopkit.export.inspection.report import inspect_in_process

    limit_memory()
    inspect_in_process(path)
    if artifact.kind(path) != "keras":
        return None
    from bopkit.artifacts.keras_file import load_model
    from bopkit.keras2 import import_tensorflow

    model = load_model(path)
    if model.input_shape[1:] != INPUT_SHAPE:
        raise BopkitError(f"{path} takes pictures of {model.input_shape[1:]}.", "Show it others.")
    scores = model(pictures(), training=False).numpy().tolist()
    import_tensorflow().keras.backend.clear_session()
    return scores


def as_runner(path: str) -> list[list[float]]:
    """What `bopkit benchmark` and `bopkit verify` do in a process of their own."""
    from bopkit.benchmark.runtimes.runtime import make_runtime, reference_runtime

    limit_memory()
    kind = artifact.kind(path)
    runtime = make_runtime(kind, 1, reference_runtime(kind))
    runtime.load(artifact.resolve(path))
    if runtime.input_shape != INPUT_SHAPE:
        raise BopkitError(f"{path} takes pictures of {runtime.input_shape}.", "Show it others.")
    return runtime.predict(pictures()).tolist()


def pictures() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, *INPUT_SHAPE)).astype(np.float32)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


if __name__ == "__main__":
    sys.exit(main())
