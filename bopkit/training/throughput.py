"""How fast a network trains on this machine, and what holds it back: the input, the computing, or shared cores.

Three rates, in pictures a second: of training steps on one batch that stays on the device, of the ImageNet input
pipeline alone on JPEG files drawn here, and of both together. Nothing is read from or written to disk.
"""

from __future__ import annotations

import dataclasses
import gc
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from bopkit.architecture import Architecture
from bopkit.data import BatchOptions, Dataset, DatasetFacts, Preprocessing, get_preprocessing, training_batches
from bopkit.errors import BopkitError, UsageError, unknown_name
from bopkit.failures import translate
from bopkit.host import cpu_name, logical_cores
from bopkit.keras2 import import_tensorflow
from bopkit.optim import make_optimizer
from bopkit.progress import Progress, silent
from bopkit.registry import MODELS
from bopkit.tabular import Column, Tabular, record
from bopkit.training.devices import PRECISIONS, Placement, choose_devices, gpu_name
from bopkit.training.memory import check_memory
from bopkit.training.network import build_training_network
from bopkit.training.step import TrainStep
from bopkit.versions import package_versions

Limit = Literal["compute", "input", "shared"]

FIRST_BATCH_SIZE = 32
LARGEST_BATCH_SIZE = 1024
STEPS = 100
WARMUP_STEPS = 2
"""Untimed steps: the first traces and compiles, both fill the buffers."""

TIME_LIMIT_S = 5.0
"""A measurement ends after its steps or after this time, but not before its first timed step."""

PICTURES = 10_000
"""Most pictures of one measurement: its encoded pictures wait in memory for shuffling, as a run's do."""

INPUT_PICTURES = 512
"""Fewest pictures that the input pipeline is timed with, unless the time limit comes first: it starts in bursts."""

FASTER = 1.05
"""A batch of twice the size is tried as long as the last doubling made steps at least this much faster."""

NEARLY = 0.95
"""Two rates count as equal from this ratio on."""

JPEG_FILES = 64
JPEG_SIZE_PX = (375, 500)
"""Height and width of the drawn pictures: the commonest size in ImageNet."""


@dataclasses.dataclass(frozen=True)
class ThroughputRow:
    """Rates of one setting; None where it failed.

    Attributes:
        precision: `float32` or `bfloat16`.
        jit: Whether XLA compiled the step.
        batch_size: Pictures a step.
        compute_images_per_second: Training steps on one batch that stays on the device.
        input_images_per_second: The input pipeline alone.
        images_per_second: Training steps on what the pipeline delivers.
        peak_memory_bytes: Most device memory held at once; None on a CPU, where TensorFlow does not count it.
        limit: `compute`, `input`, or `shared` where the input alone is fast enough but takes cores from the steps.
        error: Why it failed, in one line.
    """

    precision: str
    jit: bool
    batch_size: int
    compute_images_per_second: float | None = None
    input_images_per_second: float | None = None
    images_per_second: float | None = None
    peak_memory_bytes: int | None = None
    limit: Limit | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True, repr=False)
class ThroughputReport(Tabular):
    """What was measured, on what.

    Attributes:
        model: Name of the network.
        input_shape: Height, width, channels of its input.
        device: Name of the GPU or CPU.
        logical_cores: Logical cores of the host: they decode the pictures.
        jpeg_bytes: Mean size of the drawn JPEG files.
        versions: Versions of Python and of the packages.
        rows: One a setting, in the order of measuring.
    """

    model: str
    input_shape: tuple[int, int, int]
    device: str
    logical_cores: int
    jpeg_bytes: int
    versions: dict[str, str]
    rows: tuple[ThroughputRow, ...]

    _columns = (
        Column("batch size", "batch_size"),
        Column("precision", "precision"),
        Column("XLA", "jit"),
        Column("images/s", "images_per_second", "{:,.0f}".format),
        Column("compute alone", "compute_images_per_second", "{:,.0f}".format),
        Column("input alone", "input_images_per_second", "{:,.0f}".format),
        Column("failed", "error"),
    )

    def _title(self) -> str:
        return f"{self.model} on {self.device}, {self.logical_cores} cores"

    def _records(self) -> list[dict[str, Any]]:
        return [record(row) for row in self.rows]

    @property
    def failed(self) -> list[ThroughputRow]:
        """Settings that could not be measured."""
        return [row for row in self.rows if row.error is not None]

    @property
    def fastest(self) -> ThroughputRow | None:
        """The setting with the most pictures a second, input included; None if all failed."""
        return max(
            (row for row in self.rows if row.error is None), key=lambda row: row.images_per_second or 0, default=None
        )


ADVICE: dict[Limit, str] = {
    "compute": "the device is the limit; the input keeps up",
    "input": "the input is the limit: more CPU cores help, and --data-cache if reading is slow too",
    "shared": "steps and input share the same cores: each alone is faster than both together",
}
"""What a limit means."""


def measure_throughput(
    model: str = "birealnet",
    *,
    device: str = "gpu",
    batch_size: int | None = None,
    precision: str | None = None,
    jit: bool | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> ThroughputReport:
    """Measure how fast a network trains on one device, with the ImageNet preprocessing at the network's own size.

    Args:
        model: Name of an architecture.
        device: `gpu`, `gpu:N` or `cpu`.
        batch_size: Pictures a step; None for 32, and on a GPU then twice as many while they fit and are faster.
        precision: `float32` or `bfloat16`; None for both.
        jit: Compile steps with XLA; None for with and without.
        steps: Timed steps of a measurement at most; after 5 s it ends earlier.
        progress: Called with one line before each setting.

    Returns:
        The report; a setting that failed is a row with its error.

    Raises:
        UsageError: A name or value is wrong, or there is no such GPU.
        BopkitError: There is no GPU.
    """
    progress = progress or silent
    if precision is not None and precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS, "bopkit doctor --help")
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}.", "Use 1 or more.")
    architecture: Architecture = MODELS.load(model)
    input_shape = (*architecture.input_shape[:2], 3)
    preprocessing = get_preprocessing("imagenet", input_shape)
    placement = _start_device(device)
    pictures = DrawnPictures(architecture.classes)
    meter = _Meter(architecture, preprocessing, pictures, placement, steps)
    sizes = [batch_size or FIRST_BATCH_SIZE]
    if batch_size is None and placement.on_gpu:
        while sizes[-1] < LARGEST_BATCH_SIZE:
            sizes.append(2 * sizes[-1])
    rows: list[ThroughputRow] = []
    for each_precision in [precision] if precision else PRECISIONS:
        for each_jit in (False, True) if jit is None else (jit,):
            rows += _measure_sizes(meter.measure, each_precision, each_jit, sizes, progress)
    return ThroughputReport(
        model=architecture.name,
        input_shape=input_shape,
        device=gpu_name() or cpu_name(),
        logical_cores=logical_cores(),
        jpeg_bytes=pictures.mean_bytes,
        versions=package_versions(),
        rows=tuple(rows),
    )


def _start_device(device: str) -> Placement:
    """Make TensorFlow see only that device."""
    if re.fullmatch(r"cpu|gpu(:\d+)?", device) is None:
        raise UsageError(f"Cannot measure device {device!r}.", "Known: gpu, gpu:N, cpu.")
    if device != "cpu" and not import_tensorflow().config.list_physical_devices("GPU"):
        raise BopkitError(
            "TensorFlow sees no GPU.",
            "`bopkit doctor --gpu --device cpu` measures the CPU; with an NVIDIA GPU and its driver: "
            "pip install -e '.[gpu]' in bopkit's folder.",
        )
    return choose_devices("one", device)


def _measure_sizes(
    measure: Callable[[str, bool, int], ThroughputRow],
    precision: str,
    jit: bool,
    sizes: list[int],
    progress: Progress,
) -> list[ThroughputRow]:
    """Rows of growing batches, up to the one that no longer fits or is no longer faster."""
    rows: list[ThroughputRow] = []
    for size in sizes:
        progress(f"measuring {precision} {'with' if jit else 'without'} XLA, batch {size}")
        row = measure(precision, jit, size)
        if rows and row.error is not None:
            progress(f"batch {size}: {row.error}")
            break
        rows.append(row)
        if row.error is not None:
            break
        if len(rows) > 1 and _rate(rows[-1]) < FASTER * _rate(rows[-2]):
            break
    return rows


def _rate(row: ThroughputRow) -> float:
    return row.compute_images_per_second or 0.0


class DrawnPictures(Dataset):
    """JPEG files of ImageNet's commonest size in memory, drawn from a fixed seed; labels are drawn too.

    Smooth colours under noise, so that a file is about as large as a photograph and takes as long to decode. The
    split `N` has N pictures: the drawn ones over and over.
    """

    def __init__(self, classes: int) -> None:
        facts = DatasetFacts("drawn", classes, (224, 224, 3), "imagenet", "", source="drawn here")
        super().__init__(facts, map(str, range(classes)))
        tf = import_tensorflow()
        generator = np.random.default_rng(0)
        height, width = JPEG_SIZE_PX
        jpegs = []
        for _ in range(JPEG_FILES):
            coarse = generator.uniform(0, 255, (12, 16, 3))
            smooth = tf.image.resize(coarse, (height, width), "bicubic").numpy()
            pixels = np.clip(smooth + generator.normal(0, 12, (height, width, 1)), 0, 255).astype(np.uint8)
            jpegs.append(tf.io.encode_jpeg(pixels).numpy())
        self._jpegs = jpegs
        self._labels = generator.integers(0, classes, JPEG_FILES)

    @property
    def mean_bytes(self) -> int:
        """Mean size of a file."""
        return round(sum(map(len, self._jpegs)) / len(self._jpegs))

    def count(self, split: str) -> int:
        """Number of pictures of a split: its name."""
        return int(split)

    def read(self, split: str) -> Any:
        """A `tf.data.Dataset` of (scalar string, int64 [])."""
        files = import_tensorflow().data.Dataset.from_tensor_slices((self._jpegs, self._labels))
        return files.repeat().take(self.count(split))


class _Meter:
    """Measures settings one after the other; the input pipeline's own rate is measured once a batch size."""

    def __init__(
        self,
        architecture: Architecture,
        preprocessing: Preprocessing,
        pictures: DrawnPictures,
        placement: Placement,
        steps: int,
    ):
        self._architecture = architecture
        self._preprocessing = preprocessing
        self._pictures = pictures
        self._placement = placement
        self._steps = steps
        self._input_rates: dict[int, float] = {}

    def measure(self, precision: str, jit: bool, batch_size: int) -> ThroughputRow:
        """The row of one setting."""
        tf = import_tensorflow()
        row = ThroughputRow(precision, jit, batch_size)
        try:
            return self._measure(row)
        except (BopkitError, tf.errors.OpError) as error:
            return dataclasses.replace(row, error=translate(error).message)
        finally:
            # What a setting leaves on the device would count as memory of the next.
            tf.keras.backend.clear_session()
            gc.collect()

    def _measure(self, row: ThroughputRow) -> ThroughputRow:
        tf = import_tensorflow()
        if self._placement.on_gpu:
            tf.config.experimental.reset_memory_stats("GPU:0")
        step = build_step(self._architecture, self._preprocessing, row, self._placement.strategy)
        steps = max(1, min(self._steps, PICTURES // row.batch_size - WARMUP_STEPS))

        same = _SameBatch(next(self._batches(row.batch_size, steps)))
        compute = images_per_second(lambda: step(same), row.batch_size, steps)
        if row.batch_size not in self._input_rates:
            # Fresh, so that no batch is waiting when the clock starts.
            input_steps = max(steps, INPUT_PICTURES // row.batch_size)
            batches = self._batches(row.batch_size, input_steps)
            self._input_rates[row.batch_size] = images_per_second(lambda: next(batches), row.batch_size, input_steps)
        fed = self._batches(row.batch_size, steps)
        together = images_per_second(lambda: step(fed), row.batch_size, steps)
        memory = tf.config.experimental.get_memory_info("GPU:0") if self._placement.on_gpu else None
        alone = self._input_rates[row.batch_size]
        return dataclasses.replace(
            row,
            compute_images_per_second=compute,
            input_images_per_second=alone,
            images_per_second=together,
            peak_memory_bytes=memory and memory["peak"],
            limit=name_limit(compute, alone, together),
        )

    def _batches(self, batch_size: int, steps: int) -> Iterator[tuple[Any, Any]]:
        """Batches of the training pipeline, on the device: enough for one measurement and its warm-up."""
        count = steps + WARMUP_STEPS + 1
        options = BatchOptions(batch_size=batch_size, steps_per_epoch=count, seed=0, epochs=1)
        batches = training_batches(self._pictures, str(count * batch_size), self._preprocessing, options)
        return iter(self._placement.strategy.distribute_datasets_from_function(lambda context: batches))


class _SameBatch:
    """An iterator over one batch for ever. Traced into a step, the batch stays on the device."""

    def __init__(self, batch: tuple[Any, Any]):
        self._batch = batch

    def get_next(self) -> tuple[Any, Any]:
        return self._batch


def build_step(
    architecture: Architecture, preprocessing: Preprocessing, row: ThroughputRow, strategy: Any
) -> Callable[[Iterator[tuple[Any, Any]] | _SameBatch], Any]:
    """A training step as `bopkit train` runs it, with the network's default hyper-parameters.

    Args:
        architecture: The network.
        preprocessing: Its `finish` makes pictures the network's input.
        row: Precision, XLA and batch size.
        strategy: A `tf.distribute.Strategy` with one replica.

    Returns:
        Takes an iterator over batches as `training_batches` makes them, runs a step on its next batch, and returns a
        tensor: reading it waits for the step.
    """
    hparams = architecture.hparams()
    with strategy.scope():
        network = build_training_network(
            architecture, hparams, preprocessing.input_shape, architecture.classes, precision=row.precision
        )
        check_memory(network, row.batch_size)
        optimizer, _ = make_optimizer(network, hparams, steps_per_epoch=STEPS)
    step = TrainStep(network, optimizer, strategy, jit=row.jit, finish=preprocessing.finish)
    return lambda batches: step.train_next(batches).vector


def images_per_second(run: Callable[[], Any], batch_size: int, steps: int) -> float:
    """Time calls that each process one batch.

    A result is waited for after the next call has begun, as the trainer does: the device always has work, and the
    clock stays at most one step behind it.

    Args:
        run: Processes a batch and returns tensors.
        batch_size: Pictures a batch.
        steps: Timed calls at most; fewer if `TIME_LIMIT_S` passes.
    """
    for _ in range(WARMUP_STEPS):
        _wait_for(run())
    began = time.perf_counter()
    previous, done = run(), 1
    while done < steps and time.perf_counter() - began < TIME_LIMIT_S:
        latest = run()
        _wait_for(previous)
        previous, done = latest, done + 1
    _wait_for(previous)
    return done * batch_size / (time.perf_counter() - began)


def _wait_for(result: Any) -> None:
    """Wait until a result is there; of a batch, its labels, which are copied to the device behind its pictures."""
    last = result[-1] if isinstance(result, tuple) else result
    last.numpy()


def name_limit(compute: float, alone: float, together: float) -> Limit:
    """What holds training back.

    Args:
        compute: Pictures a second of steps without input.
        alone: Of input without steps.
        together: Of both.
    """
    if together >= NEARLY * compute:
        return "compute"
    return "input" if alone < compute else "shared"
