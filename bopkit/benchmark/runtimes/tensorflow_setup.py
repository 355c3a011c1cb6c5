"""TensorFlow for timing on this host's CPU."""

from __future__ import annotations

from types import ModuleType

from bopkit.keras2 import import_tensorflow


def start_tensorflow(threads: int) -> ModuleType:
    """Import TensorFlow and bind it to a number of threads, before it has run anything in this process.

    Args:
        threads: Threads inside one operation, and operations at a time.
    """
    tf = import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf
