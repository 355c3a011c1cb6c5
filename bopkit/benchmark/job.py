"""What one measuring process is told, as JSON in its folder."""

from __future__ import annotations

import dataclasses
import json

JOB_FILE = "job.json"
ROW_FILE = "row.json"
SCORES_FILE = "scores.npy"
"""float32 [n, classes]."""
LABELS_FILE = "labels.npy"
"""int64 [n]."""

PROGRESS_PREFIX = "bopkit: "
"""Begins the lines of a measuring process that are meant for the user; libraries print there too."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The pictures that accuracy is measured on.

    Attributes:
        dataset: Name of a prepared dataset.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: For instance `test`.
        pictures: How many of its first pictures.
        batch_size: Pictures at a time.
        classes: Number of classes of the dataset.
        input_shape: Height, width, channels that the dataset's default preprocessing makes.
        default_preprocessing: Name of that preprocessing.
        preprocess_fn: Name of the preprocessing that the user asks for; None for the artifact's own.
    """

    dataset: str
    data_dir: str | None
    split: str
    pictures: int
    batch_size: int
    classes: int
    input_shape: tuple[int, int, int]
    default_preprocessing: str
    preprocess_fn: str | None


@dataclasses.dataclass(frozen=True)
class Job:
    """One artifact and how to measure it.

    Attributes:
        artifact: Its path.
        threads: Threads for one picture.
        warmup_runs: Runs before the timed ones.
        runs: Timed runs.
        time_limit_s: Limit for the timed runs, in seconds.
        evaluation: The pictures for its accuracy; None for latency, size and memory only.
        runtime: Name of the runtime for flatbuffers; None for the default.
    """

    artifact: str
    threads: int
    warmup_runs: int
    runs: int
    time_limit_s: float
    evaluation: Evaluation | None
    runtime: str | None = None

    def to_json(self) -> str:
        """The job as one JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        evaluation = values.pop("evaluation")
        if evaluation is not None:
            evaluation = Evaluation(**{**evaluation, "input_shape": tuple(evaluation["input_shape"])})
        return cls(**values, evaluation=evaluation)
