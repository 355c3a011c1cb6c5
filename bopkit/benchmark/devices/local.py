"""This host as a device: each artifact is measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

from bopkit.benchmark.child import measure_in_child
from bopkit.benchmark.devices.device import Device
from bopkit.benchmark.job import Job
from bopkit.benchmark.results import LOCAL, BenchmarkRow, Environment
from bopkit.progress import Progress


class LocalDevice(Device):
    """This host."""

    name = LOCAL

    def __init__(self) -> None:
        self.environment = Environment.of_this_host()

    def measure(self, job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
        """Measure an artifact in a process of its own; it leaves scores and labels in `folder`."""
        return measure_in_child(job, folder, progress)
