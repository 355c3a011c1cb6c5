"""Results of benchmarks written by hand, as other hosts and devices would leave them."""

import dataclasses

import numpy as np

from bopkit.benchmark.job import Timing
from bopkit.benchmark.results import BenchmarkReport, BenchmarkRow, Environment, LayerBytes, Protocol, StepTime

SERVER = Environment(
    "Example CPU 3000", 2, 8_000_000_000, "Linux-6.1", "x86_64", {"python": "3.11.9", "numpy": "1.26.4"}
)
BOARD = Environment("Cortex-A76", 4, 4_000_000_000, "Linux-6.6", "aarch64", {"python": "3.11.2"})
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def make_row(artifact, p50_ms=5.0, top1=0.9, size_bytes=4_200_000, *, seed=0, runs=200, classes=10, **figures):
    """A row with all figures; samples scatter by 2 % around p50, with a tail."""
    rng = np.random.default_rng(seed)
    samples = p50_ms * (1 + 0.02 * rng.standard_normal(runs) + 0.1 * (rng.random(runs) > 0.97))
    p50, p90, p99 = (float(value) for value in np.percentile(samples, (50, 90, 99)))
    values = {
        "threads": 1,
        "kind": "tflite",
        "runtime": "LiteRT",
        "settings": {"threads": 1, "isa": "avx2"},
        "architecture": "birealnet",
        "input_shape": (32, 32, 3),
        "classes": classes,
        "size_bytes": size_bytes,
        "floor_bytes": 4_000_000,
        "load_ms": 12.5,
        "first_inference_ms": 9.1,
        "latency_ms_p50": p50,
        "latency_ms_p90": p90,
        "latency_ms_p99": p99,
        "latency_ms_mean": float(samples.mean()),
        "latency_ms_std": float(samples.std()),
        "latency_ms_min": float(samples.min()),
        "runs": runs,
        "warmup_runs": 10,
        "peak_memory_bytes": 62_000_000,
        "samples_ms": [round(float(value), 6) for value in samples],
        "steps": [StepTime("conv 3x3", 0.7 * p50_ms), StepTime("dense", 0.2 * p50_ms)],
        "layers": [LayerBytes("conv", 3_000_000, True), LayerBytes("dense", 1_200_000, False)],
    }
    if top1 is not None:
        shares = np.clip(top1 + 0.05 * rng.standard_normal(classes), 0, 1)
        values |= {
            "pictures": 2000,
            "top1": top1,
            "top1_interval": (top1 - 0.013, min(1.0, top1 + 0.012)),
            "top5": min(1.0, top1 + 0.08),
            "class_top1": [float(share) for share in shares],
            "confusion": [(index, (index + 1) % classes, 3 + index % 17) for index in range(classes)],
        }
    return BenchmarkRow(artifact, **{**values, **figures})


def failed_row(artifact, **figures):
    """A row that says why it has no figures."""
    return BenchmarkRow(
        artifact, error="It is not a complete TensorFlow Lite model.", hint="Export it again.", **figures
    )


def make_report(*rows, date="2026-11-20T10:00:00+00:00", environments=None, class_names=CLASSES, **facts):
    """A result of the rows."""
    has_accuracy = any(row.top1 is not None for row in rows)
    report = BenchmarkReport(
        rows=rows,
        reference=rows[0].artifact if has_accuracy else None,
        dataset="cifar10" if has_accuracy else None,
        split="test" if has_accuracy else None,
        class_names=class_names if has_accuracy else (),
        protocol=Protocol((1,), Timing(), date=date),
        environments=environments or {"local": SERVER},
    )
    return dataclasses.replace(report, **facts)


def device_report():
    """Four networks on a server and on a board, one of which fails there."""
    rows = [
        ("binarynet.tflite", 0.7, 0.905, 1_330_000),
        ("birealnet.tflite", 5.2, 0.931, 4_200_000),
        ("xnornet.tflite", 4.6, 0.884, 23_870_000),
        ("birealnet.h5", 31.0, 0.931, 46_000_000),
    ]
    local = [
        make_row(name, ms, top1, size, seed=seed, kind=name.split(".")[1])
        for seed, (name, ms, top1, size) in enumerate(rows)
    ]
    board = [
        make_row(
            name,
            7 * ms,
            top1,
            size,
            seed=seed,
            device="ssh://pi@board",
            threads=threads,
            governor="ondemand",
            temperature_c_before=48.0,
            temperature_c_after=61.0,
        )
        for threads in (1, 4)
        for seed, (name, ms, top1, size) in enumerate(rows[:3])
    ]
    failed = failed_row("birealnet.h5", device="ssh://pi@board")
    return make_report(*local, *board, failed, environments={"local": SERVER, "ssh://pi@board": BOARD})
