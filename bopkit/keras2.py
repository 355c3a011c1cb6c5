"""Keras 2 for larq: the one place where TensorFlow is set up and imported.

larq and larq-compute-engine need Keras 2 (`tf_keras`), and TensorFlow decides which Keras `tf.keras` is when it is
first touched. `select()` runs when bopkit is imported; `import_tensorflow()` when a function first needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from bopkit.errors import BopkitError
from bopkit.garbage_collection import garbage_collection_paused

_KERAS_3_LOADED = BopkitError(
    "Keras 3 is already loaded, and larq needs Keras 2.",
    "Put `import bopkit` before the first use of tf.keras, or set TF_USE_LEGACY_KERAS=1 before starting Python.",
)


def select() -> None:
    """Make `tf.keras` Keras 2.

    Raises:
        BopkitError: TensorFlow has already handed out Keras 3.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    tensorflow = sys.modules.get("tensorflow")
    # TensorFlow replaces its lazy loader by the module when Keras is touched. Asking the loader itself for an
    # attribute would load Keras, which takes seconds: look at its dict.
    keras = vars(tensorflow).get("keras") if tensorflow else None
    if keras is not None and vars(keras).get("__name__", "").startswith("keras."):
        raise _KERAS_3_LOADED


_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"

quiet = _LOG_LEVEL not in os.environ
"""Whether to swallow the notes that TensorFlow prints: not where the user says how much it logs. The command line
sets it."""


def import_tensorflow() -> Any:
    """Import TensorFlow with Keras 2 and larq's layers registered, and return it.

    Raises:
        BopkitError: TensorFlow is missing or broken, or Keras 3 was loaded before bopkit.
    """
    if "larq" in sys.modules:
        _quieten(sys.modules["tensorflow"])
        return sys.modules["tensorflow"]
    select()
    if quiet:
        os.environ.setdefault(_LOG_LEVEL, "3")
    try:
        # What an import leaves is no garbage; looking for some takes a fifth of TensorFlow's.
        with quiet_stderr(), garbage_collection_paused():
            import larq  # noqa: F401  registers its layers and quantizers with Keras
            import tensorflow as tf
    except ImportError as error:
        raise BopkitError(f"TensorFlow cannot be imported: {error}.", "Run `bopkit doctor`.") from error
    _quieten(tf)
    return tf


_is_quietened = False


def _quieten(tf: Any) -> None:
    """Let TensorFlow and larq log errors only, where `quiet` is set: once, so that the user's own choice stays."""
    global _is_quietened
    if not quiet or _is_quietened:
        return
    _is_quietened = True
    tf.get_logger().setLevel("ERROR")
    logging.getLogger("larq").setLevel(logging.ERROR)  # its advice on training meets every export


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Swallow what C++ code writes to stderr, where Python cannot filter it; show it after all on any error but ours.

    Only where `quiet` is set.
    """
    if not quiet:
        yield
        return
    with tempfile.TemporaryFile() as swallowed:
        if sys.stderr is not None:  # a program without a terminal may have none
            sys.stderr.flush()
        try:
            stderr = os.dup(2)
        except OSError:  # closed, so that nothing is printed
            yield
            return
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        except BopkitError:  # says all itself
            raise
        except Exception:
            swallowed.seek(0)
            os.write(stderr, swallowed.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
