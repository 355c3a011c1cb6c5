"""The base class of devices."""

from __future__ import annotations

import abc
from pathlib import Path

from bopkit.benchmark.job import Job
from bopkit.benchmark.results import BenchmarkRow, Environment
from bopkit.errors import BopkitError
from bopkit.progress import Progress


class DeviceLostError(BopkitError):
    """A device disconnected: nothing more can be measured on it."""


class Device(abc.ABC):
    """What latency is measured on. Making one connects to it; `close` ends the connection.

    Attributes:
        name: As the user typed it.
        environment: What it is.
        has_one_core: Whether it has one row an artifact, whatever number of threads is asked for.
    """

    name: str
    environment: Environment
    has_one_core = False

    @abc.abstractmethod
    def measure(self, job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
        """Measure an artifact.

        Args:
            job: What to measure.
            folder: An empty folder on this host for what the measurement leaves.
            progress: Called with one line now and then.

        Returns:
            The row of the artifact, with its error if it could not be measured.

        Raises:
            DeviceLostError: The device dropped out.
            BopkitError: The measuring process died, or the device cannot run the artifact.
        """

    def close(self) -> None:  # noqa: B027 - this host has nothing to give back
        """End what still runs on the device, and remove the files that were copied to it."""
