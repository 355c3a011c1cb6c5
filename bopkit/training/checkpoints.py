"""Checkpoints of a run: each a folder that appears whole, by a rename, and is read whole before it is trusted.

checkpoints/00000150/state.index, state.data-00000-of-00001: the state after 150 steps.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress


class Checkpoints:
    """The newest checkpoints of one run.

    Args:
        folder: Where they are.
        state: The `tf.train.Checkpoint` to save and restore.
        keep: How many to keep.
        writes: False for a worker that is not the chief: it takes part in saving, since some variables are spread
            over the workers, and leaves nothing.
    """

    def __init__(self, folder: Path, state: Any, keep: int, writes: bool = True):
        self.folder = folder
        self._state = state
        self._keep = keep
        self._writes = writes

    def save(self, step: int) -> None:
        """Write the state after `step` steps, then drop the oldest ones; on a failure all old ones are still there."""
        with contextlib.ExitStack() as stack:
            if self._writes:
                scratch = stack.enter_context(files.scratch_directory(self.folder))
            else:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (scratch / "new").mkdir()
            self._state.write(str(scratch / "new" / "state"))
            if not self._writes:
                return
            files.sync(scratch / "new")
            target = self.folder / f"{step:08d}"
            if target.exists():  # the same state: a run that stopped in a validation, twice
                target.rename(scratch / "old")
            (scratch / "new").rename(target)
        # Newer ones are damaged, a resumed run fell back from them: they must not push out what is whole.
        newer = [other for other in self.steps() if other > step]
        older = [other for other in self.steps() if other <= step]
        for dropped in (*newer, *older[: -self._keep]):
            shutil.rmtree(self.folder / f"{dropped:08d}", ignore_errors=True)

    def steps(self) -> list[int]:
        """Steps after which there is a checkpoint, in order."""
        return sorted(int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit() and path.is_dir())

    def restore(self, say: Progress) -> int:
        """Restore the newest checkpoint that is whole.

        Args:
            say: Called with a warning for each damaged one.

        Returns:
            The steps that were trained; 0 if there is no checkpoint.

        Raises:
            BopkitError: There are some, and all are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            reason = self._restore(step)
            if reason is None:
                return step
            say(f"warning: checkpoint {self.folder / f'{step:08d}'} is damaged ({reason}); trying the one before")
        if steps:
            raise BopkitError(
                f"Every checkpoint in {self.folder} is damaged.",
                "Restore them from a copy, or name another --output-dir to start anew.",
            )
        return 0

    def _restore(self, step: int) -> str | None:
        """Restore one checkpoint after reading all of it, so that damage surfaces now; says what is wrong with it."""
        tf = import_tensorflow()
        path = str(self.folder / f"{step:08d}" / "state")
        try:
            reader = tf.train.load_checkpoint(path)
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)  # checks its checksum
            self._state.read(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, IndexError, ValueError, RuntimeError) as error:
            return " ".join(str(error).split())[:120] or type(error).__name__
        return None
