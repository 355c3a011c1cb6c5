"""The other end of `bopkit.sweep.child`: trains one trial and tells of it, one JSON object a line.

Input: a line with the job, then a line after every row. Output: {"say": line}, {"row": row}, and last {"end": ...}.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any

from bopkit import keras2
from bopkit.errors import BopkitError
from bopkit.failures import translate
from bopkit.sweep.child import MESSAGE_PREFIX


def main() -> None:
    """Train the job of standard input."""
    from bopkit.data import open_dataset
    from bopkit.training import train_model

    keras2.quiet = True
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    answers: queue.Queue[str] = queue.Queue()
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_listen, args=(answers,), daemon=True).start()

    def on_epoch(row: dict[str, Any]) -> None:
        _tell({"row": row})
        answers.get()

    dataset_opens = False
    try:
        open_dataset(job["dataset"], job.get("data_dir"), prepare=True, progress=_say)
        dataset_opens = True
        train_model(**job, on_epoch=on_epoch, progress=_say)
    except Exception as error:
        traceback.print_exc()
        known = translate(error)
        of_this_trial = isinstance(error, BopkitError) or known.message == _OUT_OF_MEMORY  # another may be smaller
        end = "failed" if dataset_opens and of_this_trial else "stop"
        _tell({"end": end, "message": known.message, "hint": known.hint, "exit_code": known.exit_code})
    except BaseException:  # Ctrl-C or a signal, after the trainer's checkpoint
        _tell({"end": "interrupted"})
    else:
        _tell({"end": "finished"})


_OUT_OF_MEMORY = translate(MemoryError()).message


def _listen(answers: queue.Queue[str]) -> None:
    """Pass on the parent's answers, and end this process when the parent is gone."""
    for line in sys.stdin:
        answers.put(line)
    os._exit(1)  # a run can be killed at any moment


def _say(line: str) -> None:
    _tell({"say": line})


def _tell(message: dict[str, Any]) -> None:
    print(MESSAGE_PREFIX + json.dumps(message), flush=True)
