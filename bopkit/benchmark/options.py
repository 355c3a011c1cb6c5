"""What a user may choose about a benchmark."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bopkit.benchmark.devices.device_names import AdbName, parse_device_name
from bopkit.benchmark.job import Timing
from bopkit.benchmark.results import LOCAL
from bopkit.benchmark.runtimes.runtime import TFLITE_RUNTIMES
from bopkit.errors import UsageError
from bopkit.host import parse_cpu_mask

MOST_THREADS = 256
"""As many as the native runtime takes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The settings of one benchmark: the arguments of `benchmark_artifacts`, which describes each.

    Raises:
        UsageError: A number is out of range, a name is unknown, the CPU mask is invalid, the binary is not a file or
            has no device over adb, or an option of accuracy has no dataset.
    """

    # Accuracy
    dataset: str | None = None
    data_dir: str | Path | None = None
    split: str | None = None
    preprocess_fn: str | None = None
    limit: int | None = None
    batch_size: int = 32
    reference: str | Path | None = None
    resume: bool = True
    # Latency
    threads: tuple[int, ...] = (1,)
    warmup_runs: int = Timing.warmup_runs
    runs: int = Timing.runs
    min_duration_s: float = Timing.min_duration_s
    time_limit_s: float = Timing.time_limit_s
    with_steps: bool = Timing.with_steps
    cpu_mask: str | None = Timing.cpu_mask
    cool_down_s: float = 0.0
    # Runtimes and devices
    runtime: str | None = None
    devices: tuple[str, ...] = (LOCAL,)
    runner: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse values that no benchmark can have; threads and devices that are named twice count once."""
        object.__setattr__(self, "threads", check_threads(self.threads))
        object.__setattr__(self, "devices", tuple(dict.fromkeys(self.devices)))
        self._check_numbers()
        if self.runtime is not None and self.runtime not in TFLITE_RUNTIMES:
            raise UsageError(f"There is no runtime {self.runtime!r}.", f"Use one of: {', '.join(TFLITE_RUNTIMES)}.")
        self._check_devices()
        if self.cpu_mask is not None:
            parse_cpu_mask(self.cpu_mask)
        check_dataset_options(
            self.dataset,
            split=self.split,
            preprocess_fn=self.preprocess_fn,
            limit=self.limit,
            reference=self.reference,
        )

    @property
    def timing(self) -> Timing:
        """How each row is timed."""
        return Timing(
            warmup_runs=self.warmup_runs,
            runs=self.runs,
            min_duration_s=self.min_duration_s,
            time_limit_s=max(self.time_limit_s, self.min_duration_s),
            with_steps=self.with_steps,
            cpu_mask=self.cpu_mask,
        )

    def _check_numbers(self) -> None:
        from_zero: Mapping[str, float] = {
            "warmup_runs": self.warmup_runs,
            "cool_down_s": self.cool_down_s,
            "min_duration_s": self.min_duration_s,
        }
        above_zero: Mapping[str, float | None] = {
            "runs": self.runs,
            "batch_size": self.batch_size,
            "limit": self.limit,
            "time_limit_s": self.time_limit_s,
        }
        for name, value in from_zero.items():
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} is {value:g}.", "Use 0 or more.")
        for name, number in above_zero.items():
            if number is not None and not 0 < number < math.inf:
                raise UsageError(f"{name} is {number:g}.", "Use a number above 0.")

    def _check_devices(self) -> None:
        """Refuse wrong names before hours of accuracy; whether a device answers is known when it is its turn."""
        if self.runner is not None and not Path(self.runner).is_file():
            raise UsageError(
                f"{self.runner} is not a file.", "Give lce_benchmark_model or benchmark_model with --runner."
            )
        over_adb = [name for name in self.devices if isinstance(parse_device_name(name), AdbName)]
        if self.runner is not None and not over_adb:
            raise UsageError("--runner is for devices over adb, and no such device is named.", "Add --device adb.")
        if self.runner is None and over_adb:
            raise UsageError(
                f"{over_adb[0]} needs a benchmark binary.",
                "Give LCE's lce_benchmark_model, or TensorFlow Lite's benchmark_model, with --runner.",
            )


def check_threads(threads: int | Sequence[int]) -> tuple[int, ...]:
    """The numbers of threads, each once.

    Raises:
        UsageError: There is none, or one is out of range.
    """
    numbers = (threads,) if isinstance(threads, int) else tuple(dict.fromkeys(threads))
    if not numbers:
        raise UsageError("No number of threads was named.", "Give one or more numbers, each at least 1.")
    for number in numbers:
        if not 1 <= number <= MOST_THREADS:
            raise UsageError(f"threads is {number}.", f"Use a number from 1 to {MOST_THREADS}.")
    return numbers


def check_dataset_options(dataset: str | None, **options: object) -> None:
    """Refuse options of accuracy without a dataset.

    Args:
        dataset: Name of the dataset; None for no accuracy.
        options: Their values by name; None for those that were not given.

    Raises:
        UsageError: One was given, and no dataset.
    """
    for option, value in options.items():
        if dataset is None and value is not None:
            raise UsageError(f"--{option.replace('_', '-')} needs a dataset.", "Name one with --dataset.")
