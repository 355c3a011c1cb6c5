"""How long a server takes to start: stock TensorFlow in a new process loads a version directory and runs it once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path

from bopkit.errors import BopkitError
from bopkit.isolation import cpu_environment
from bopkit.python_process import PythonProcess

_CLIENT = """
import json, threading, time
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()  # it ends with bopkit
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
class StartTimes:
    """Seconds of the first two things that a process does with a version directory.

    Attributes:
        load_s: `tf.saved_model.load`, kernels unpacked; without importing TensorFlow.
        first_request_s: The first picture through `serving_default`.
    """

    load_s: float
    first_request_s: float


def measure_start(path: Path) -> StartTimes:
    """Load a version directory in a new process without larq and bopkit, and send it one picture.

    Raises:
        BopkitError: It cannot be loaded or asked there.
    """
    with contextlib.closing(PythonProcess(_CLIENT, str(path.absolute()), environment=cpu_environment())) as process:
        answer = process.output.read()
        end = process.describe_end()
        if process.returncode != 0:
            last = process.printed().strip().splitlines()[-1:] or [f"its process {end}"]
            raise BopkitError(
                f"Stock TensorFlow cannot load the SavedModel: {last[0][:200]}",
                "Nothing was written. Report this with the model file.",
            )
    return StartTimes(**json.loads(answer.splitlines()[-1]))
