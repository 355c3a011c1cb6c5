"""The job of one measuring process, and the files that the process writes to its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bopkit.benchmark.timing import SHORTEST_TIMING_S
from bopkit.data.own.naming import without_options

SCORES_FILE = "scores.npy"
"""float32 [n, classes]."""
LABELS_FILE = "labels.npy"
"""int64 [n]."""
PICTURES_FILE = "pictures.npy"
"""float32 [n, H, W, C]: a few of the pictures as C sources took them; absent where all scores are of a checkpoint."""
CHECKPOINT_FILE = "checkpoint.txt"
"""Holds the path of the checkpoint that the evaluation has left; absent where there is none."""


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """The pictures that accuracy is measured on.

    Attributes:
        dataset: Name of a prepared dataset, as it was typed.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: For instance `test`.
        pictures: How many of its pictures, drawn from the whole split.
        batch_size: Pictures at a time.
        class_names: Of the dataset.
        input_shape: Height, width, channels that the dataset's default preprocessing makes.
        default_preprocessing: Name of that preprocessing.
        preprocess_fn: Name of the preprocessing that the user asks for; None for the artifact's own.
        dataset_name: The dataset's own name, as model cards have it.
        dataset_identity: What tells its pictures from others.
        resume: Whether to go on with what an interrupted evaluation left, and to leave such.
    """

    dataset: str
    data_dir: str | None
    split: str
    pictures: int
    batch_size: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    default_preprocessing: str
    preprocess_fn: str | None
    dataset_name: str = ""
    dataset_identity: str = ""
    resume: bool = False

    @property
    def shown_dataset(self) -> str:
        """The name of the dataset for people."""
        return without_options(self.dataset)

    @property
    def classes(self) -> int:
        """Number of classes of the dataset."""
        return len(self.class_names)


@dataclasses.dataclass(frozen=True)
class Timing:
    """How latency is measured.

    Attributes:
        warmup_runs: Runs before the timed ones.
        runs: Timed runs; more where they are over before `min_duration_s`, fewer where they reach `time_limit_s`.
        min_duration_s: Time of all timed runs, at least.
        time_limit_s: Limit for the timed runs, in seconds.
        with_steps: Measure the steps of an inference too, where the runtime can, in runs of their own.
        cpu_mask: Cores to run on, in hexadecimal as `taskset` takes them; None for all.
    """

    warmup_runs: int = 10
    runs: int = 50
    min_duration_s: float = SHORTEST_TIMING_S
    time_limit_s: float = 30.0
    with_steps: bool = False
    cpu_mask: str | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One artifact and how to measure it.

    Attributes:
        artifact: Its path.
        threads: Threads for one picture; while accuracy is measured, the cores to spread the pictures over.
        timing: How its latency and memory are measured; None for accuracy only.
        evaluation: The pictures for its accuracy; None for latency, size and memory only.
        runtime: Name of the runtime for flatbuffers; None for the default.
        pictures: A `PICTURES_FILE` that emulated boards compute too; None for random pictures only.
    """

    artifact: str
    threads: int
    timing: Timing | None
    evaluation: EvaluationPlan | None = None
    runtime: str | None = None
    pictures: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """Read what `dataclasses.asdict` and JSON made of a job."""
        known = dict(values)
        if known["timing"] is not None:
            known["timing"] = Timing(**known["timing"])
        if known["evaluation"] is not None:
            as_tuples = {name: tuple(known["evaluation"][name]) for name in ("input_shape", "class_names")}
            known["evaluation"] = EvaluationPlan(**{**known["evaluation"], **as_tuples})
        return cls(**known)
