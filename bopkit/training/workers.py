"""Several workers that train one network: they must agree at the start, and notice when one of them is gone."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator

from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.training.cluster import WorkerLost
from bopkit.training.devices import Placement
from bopkit.training.plan import TrainingPlan


@contextlib.contextmanager
def noticing_lost_workers(placement: Placement) -> Iterator[None]:
    """Tell of TensorFlow's errors that mean that another worker is gone.

    Raises:
        WorkerLost: One is.
    """
    if placement.workers == 1:
        yield
        return
    errors = import_tensorflow().errors
    try:
        yield
    except (errors.UnavailableError, errors.AbortedError, errors.CancelledError) as error:
        raise WorkerLost(f"Worker {placement.worker} has lost another worker.") from error


def check_same_settings(plan: TrainingPlan) -> None:
    """Refuse workers that would train different networks together, or measure at different steps.

    Raises:
        UsageError: A worker's settings are not those of worker 0.
    """
    # Each worker has to tell as many values.
    optional = {"extended_after": None, "schedule_epochs": None, "teachers": None}
    settings = {**optional, **plan.config(), "log_every": plan.options.log_every, "dry_run": plan.options.dry_run}
    checksums = plan.placement.gather([zlib.crc32(json.dumps(value).encode()) for value in settings.values()])
    for worker, theirs in enumerate(checksums):
        different = [name for name, one, other in zip(settings, checksums[0], theirs, strict=True) if one != other]
        if different:
            raise UsageError(
                f"Worker {worker} was started with another {', '.join(different)} than worker 0.",
                "Start the same command on every host.",
            )
