"""How long a server waits: a version directory loaded and asked once, by stock TensorFlow in a new process."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from bopkit.errors import BopkitError

_CLIENT = """
import json, sys, time
sys.modules["larq"] = sys.modules["bopkit"] = None  # importing them raises
import tensorflow as tf
started = time.perf_counter()
loaded = tf.saved_model.load(sys.argv[1])
load_s = time.perf_counter() - started
serve = loaded.signatures["serving_default"]
inputs = {name: tf.zeros([1, *spec.shape[1:]]) for name, spec in serve.structured_input_signature[1].items()}
started = time.perf_counter()
serve(**inputs)
print(json.dumps({"load_s": load_s, "first_request_s": time.perf_counter() - started}))
"""


@dataclasses.dataclass(frozen=True)
class Start:
    """Seconds of the first two things that a process does with a version directory.

    Attributes:
        load_s: `tf.saved_model.load`, kernels unpacked; without importing TensorFlow.
        first_request_s: The first picture through `serving_default`.
    """

    load_s: float
    first_request_s: float


def measure_start(path: Path) -> Start:
    """Load a version directory in a new process without larq and bopkit, and send it one picture.

    Raises:
        BopkitError: It cannot be loaded or asked there.
    """
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    result = subprocess.run(
        [sys.executable, "-c", _CLIENT, str(path.absolute())],
        cwd=path,  # Python imports from the working directory first
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        last = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise BopkitError(
            f"Stock TensorFlow cannot load the SavedModel: {last[0][:200]}",
            "Nothing was written. Report this with the model file.",
        )
    return Start(**json.loads(result.stdout.splitlines()[-1]))
