"""Settings for the server beside the version directories: written once, then the user's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bopkit.files import scratch_directory, sync

MODELS_CONFIG = "models.config"
BATCHING_PARAMETERS = "batching_parameters.txt"


def write_server_files(folder: Path) -> None:
    """Write the server's settings into the folder of a model, each file unless there is one of that name.

    Args:
        folder: Holds the version directories; its name is the model's.
    """
    _write_new(folder / MODELS_CONFIG, _models_config(folder.name))
    _write_new(folder / BATCHING_PARAMETERS, _BATCHING)


def _write_new(path: Path, text: str) -> None:
    """Write a file whole, unless there is one of that name: the user may have changed it."""
    with scratch_directory(path.parent) as folder:
        scratch = folder / path.name
        scratch.write_bytes(text.encode())
        sync(scratch)
        try:
            os.link(scratch, path)  # unlike a rename, it never replaces
        except FileExistsError:
            return
        except OSError:  # a file system without links
            if not os.path.lexists(path):
                scratch.replace(path)


def _models_config(name: str) -> str:
    return f"""\
# For tensorflow_model_server --model_config_file=/models/{name}/{MODELS_CONFIG}
# More models: one `config` each. bopkit writes this file once and never changes it.
model_config_list {{
  config {{
    name: {json.dumps(name)}
    base_path: {json.dumps(f"/models/{name}")}
    model_platform: "tensorflow"
    # The newest version alone. To pin some: specific {{ versions: 1 versions: 2 }}
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""


_BATCHING = """\
# For tensorflow_model_server --enable_batching --batching_parameters_file=...
# Waits for more requests to one signature and runs them together. bopkit writes this file once and never changes it.
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
# Threads that run batches: one a CPU core unless given here.
# num_batch_threads { value: 4 }
# Must stay false: it would fill smaller pictures up with pixels of another and change their scores.
pad_variable_length_inputs: false
"""
