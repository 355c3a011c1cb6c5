"""What decides how TensorFlow rounds on a CPU: where these facts are the same, a run repeats bit for bit."""

import importlib.metadata
import os
import re
from pathlib import Path

NUMERIC_FLAGS = re.compile(r"(avx|amx|fma|sse|ssse|f16c)\w*")
"""CPU flags of arithmetic: they choose kernels. The others, of security and power, differ between kernels of Linux."""

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

VARIABLES = ("TF_NUM_", "TF_ENABLE_ONEDNN_", "ONEDNN_", "OMP_", "KMP_", "MKL_")
"""Beginnings of the names of environment variables that choose kernels or threads."""

PACKAGES = ("tensorflow", "tf-keras", "larq", "numpy")


def machine_facts():
    """Flags, cores, caches and package versions, as plain JSON values.

    Cores share out sums, and caches choose the blocks of matrix products: both change the order of additions.
    """
    return {
        "cpu_flags": _cpu_flags(),
        "cores": len(os.sched_getaffinity(0)),
        "caches": [path.read_text().strip() for path in sorted(CACHES.glob("index*/size"))],
        "environment": {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)},
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def differing_facts(recorded):
    """Names of the facts in which this machine differs from the recorded one."""
    here = machine_facts()
    return sorted(name for name in {*recorded, *here} if recorded.get(name) != here.get(name))


def _cpu_flags():
    """The flags of arithmetic, sorted; empty where Linux does not tell them."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return " ".join(sorted(filter(NUMERIC_FLAGS.fullmatch, flags)))
