"""Governor, temperature and throttling from Linux's files, pinned cores, and the notes that a reader of a row gets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bopkit import host
from bopkit.benchmark import BenchmarkRow
from bopkit.benchmark.job import Timing
from bopkit.benchmark.row_notes import add_timing_notes, slowdown
from bopkit.errors import UsageError

FLAGS = "/sys/devices/platform/soc/soc:firmware/get_throttled"
COUNT = "/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count"
HIGHEST = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq"
COOLER = "/sys/class/thermal/cooling_device3/"


@pytest.mark.parametrize(
    ("before", "after", "throttled"),
    [
        ({}, {}, None),
        ({"/sys/class/thermal/thermal_zone0/temp": "90000"}, {}, None),
        ({FLAGS: "0"}, {}, False),
        ({FLAGS: "0x50000"}, {}, False),  # under voltage and throttled, long ago
        ({FLAGS: "0"}, {FLAGS: "80008"}, True),
        ({FLAGS: "0"}, {FLAGS: "20000"}, True),
        ({FLAGS: "0"}, {FLAGS: "10001"}, False),  # under voltage alone lowers no clock
        ({COUNT: "7"}, {}, False),
        ({COUNT: "7"}, {COUNT: "8"}, True),
        ({HIGHEST: "1800000"}, {HIGHEST: "1500000"}, True),
        ({HIGHEST: "1500000"}, {HIGHEST: "1800000"}, False),
        ({COOLER + "type": "thermal-cpufreq-0", COOLER + "cur_state": "0"}, {COOLER + "cur_state": "2"}, True),
        ({COOLER + "type": "Processor", COOLER + "cur_state": "1"}, {COOLER + "cur_state": "0"}, True),
        ({COOLER + "type": "pwm-fan", COOLER + "cur_state": "3"}, {}, None),
        ({COOLER + "type": "pwm-fan", COOLER + "cur_state": "3", COUNT: "7"}, {}, False),
    ],
)
def test_throttling(
    before: dict[str, str],
    after: dict[str, str],
    throttled: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after = {**before, **after}
    assert host.is_throttled(before, after) is throttled
    machine = pytest.importorskip("bopkit_runtime.machine", reason="needs bopkit-runtime: make .venv/.runtime")
    for name in ("_FIRMWARE_FLAGS", "_CPUS", "_ZONES"):
        monkeypatch.setattr(machine, name, tmp_path / str(getattr(machine, name)).lstrip("/"))
    limits = []
    for texts in (before, after):  # the runtime's own reading, which is for machines without bopkit, says the same
        for path, text in texts.items():
            (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.lstrip("/")).write_text(text)
        limits.append(machine.clock_limits())
    assert machine.is_throttled(*limits) is throttled


def test_governor_and_temperature() -> None:
    files = {
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
        "/sys/class/thermal/thermal_zone0/temp": "48312",
        "/sys/class/thermal/thermal_zone11/temp": "51000",
        "/sys/class/thermal/thermal_zone2/temp": "?",
    }
    assert (host.governor(files), host.temperature_c(files)) == ("ondemand", 51.0)
    assert (host.governor({}), host.temperature_c({})) == (None, None)
    assert isinstance(host.read_system_files(), dict)


def test_cpu_masks() -> None:
    assert host.parse_cpu_mask("f0") == {4, 5, 6, 7} and host.parse_cpu_mask("0x3") == {0, 1}
    for wrong in ("", "0", "g", "-1", "0,1"):
        with pytest.raises(UsageError, match="not a CPU mask"):
            host.parse_cpu_mask(wrong)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_is_pinned() -> None:
    usual = os.sched_getaffinity(0)
    try:
        host.pin_process([min(usual)])
        assert os.sched_getaffinity(0) == {min(usual)}
        with pytest.raises(UsageError, match="No process can run on the cores.* It may run on cores"):
            host.pin_process([1000])
    finally:
        os.sched_setaffinity(0, usual)


@pytest.mark.parametrize(
    ("figures", "notes"),
    [
        ({"runs": 50, "samples_ms": [1.0] * 50, "is_throttled": False}, []),
        ({"runs": 7}, ["7 of 50 runs fitted into the limit of 30 s."]),
        ({"is_throttled": True}, ["The clock was lowered during the runs because of heat or power. Cool the device"]),
        (
            {"is_throttled": True, "temperature_c_before": 41.6, "temperature_c_after": 84.0},
            [
                "The clock was lowered during the runs because of heat or power "
                "(42 degrees Celsius before, 84 after). Cool"
            ],
        ),
        ({"samples_ms": [1.0] * 15 + [1.3] * 5}, ["The last quarter of the runs took 1.30 times as long as the first"]),
        ({"samples_ms": [1.0] * 15 + [1.19] * 5}, []),
        ({"samples_ms": [1.0] * 14 + [9.0] * 5}, []),  # too few to say
    ],
)
def test_notes(figures: dict[str, Any], notes: list[str]) -> None:
    row = BenchmarkRow("model.tflite", **figures)
    add_timing_notes(row, Timing())
    assert len(row.notes) == len(notes)
    assert all(note.startswith(wanted) for note, wanted in zip(row.notes, notes, strict=True)), row.notes


def test_slowdown_is_the_last_quarter_over_the_first() -> None:
    assert slowdown([1.0] * 10 + [5.0] * 20 + [2.0] * 10) == 2.0
