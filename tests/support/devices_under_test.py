"""What the tests of devices over ssh and adb have in common."""

from __future__ import annotations

import time
from collections.abc import Callable

from bopkit.benchmark import BenchmarkReport

WAIT_S = 60.0


def only_error(report: BenchmarkReport) -> str:
    (row,) = report.rows
    assert row.error is not None and "\n" not in row.error, row
    return f"{row.error} {row.hint}"


def eventually(holds: Callable[[], object]) -> bool:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if holds():
            return True
        time.sleep(0.05)
    return False
