"""Benchmark: accuracy, latency, size and memory of artifacts, side by side on this host.

Importing this package imports neither TensorFlow nor LCE; each artifact is measured in a process of its own.
"""

from bopkit.benchmark.benchmark import benchmark_artifacts, run_benchmark
from bopkit.benchmark.options import BenchmarkOptions
from bopkit.benchmark.results import BenchmarkReport, BenchmarkRow, Environment, Protocol

__all__ = [
    "BenchmarkOptions",
    "BenchmarkReport",
    "BenchmarkRow",
    "Environment",
    "Protocol",
    "benchmark_artifacts",
    "run_benchmark",
]
