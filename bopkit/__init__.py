"""bopkit: train binarized neural networks with Bop, export them bit-packed, measure them.

Most commands of the command line are one function here. Importing bopkit imports no TensorFlow, but makes
`tf.keras` Keras 2, which larq needs: import bopkit before the first use of `tf.keras`. Where bopkit is the first to
import TensorFlow, that logs errors only, unless TF_CPP_MIN_LOG_LEVEL is set when bopkit is imported.
"""

from __future__ import annotations

import importlib
from typing import Any

from bopkit import keras2, moved
from bopkit.versions import package_versions

_PUBLIC = {
    "train_model": "bopkit.training",
    "run_sweep": "bopkit.sweep",
    "evaluate_model": "bopkit.benchmark.evaluate",
    "refresh_model": "bopkit.benchmark.refresh",
    "predict_pictures": "bopkit.benchmark.predict",
    "list_runs": "bopkit.runs.summary",
    "group_runs": "bopkit.runs.groups",
    "plot_runs": "bopkit.runs.plot",
    "ExportOptions": "bopkit.export",
    "export_model": "bopkit.export",
    "verify_artifacts": "bopkit.export.verification.verify",
    "inspect_artifact": "bopkit.export.inspection",
    "diff_artifacts": "bopkit.export.inspection",
    "benchmark_artifacts": "bopkit.benchmark",
    "build_report": "bopkit.benchmark.reports",
    "compare_models": "bopkit.export.comparison.compare",
    "set_up_device": "bopkit.benchmark.devices.ssh_setup",
    "remove_device": "bopkit.benchmark.devices.ssh_setup",
    "device_info": "bopkit.benchmark.devices.info",
    "list_devices": "bopkit.benchmark.devices.info",
    "init_model": "bopkit.training.initialise",
    "pull_model": "bopkit.pretrained",
    "list_pretrained": "bopkit.pretrained",
    "list_models": "bopkit.catalogue",
    "list_hparams": "bopkit.catalogue",
    "list_datasets": "bopkit.data",
    "open_dataset": "bopkit.data",
    "prepare_datasets": "bopkit.data",
    "check_dataset": "bopkit.data.check",
    "load_model": "bopkit.pretrained",
    "read_card": "bopkit.pretrained",
    "diagnose": "bopkit.doctor",
    "measure_throughput": "bopkit.training.throughput",
    "serve_tensorboard": "bopkit.runs.tensorboard",
}
"""Public names and the modules that define them: a module is imported when its name is asked for."""

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return package_versions().get("bopkit", "unknown")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'bopkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC, "__version__"])


keras2.select()
moved.keep_old_names()
