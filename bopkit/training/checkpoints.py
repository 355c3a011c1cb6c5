"""Checkpoints of a run: each a folder that appears whole, by a rename, and is read whole before it is trusted.

checkpoints/epoch0003-step000150/state.index, state.data-00000-of-00001: three epochs are finished, and 150 steps of
the fourth are trained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress
from bopkit.runs.directory import Place, list_places
from bopkit.training.step import Sums


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a run begins or goes on.

    Attributes:
        place: Epochs and steps that are trained.
        sums: Figures of the steps that are trained of the unfinished epoch.
    """

    place: Place = Place(0, 0)
    sums: Sums = Sums()


class Checkpoints:
    """The newest checkpoints of one run: network, optimizer, place, and the sums of the unfinished epoch.

    Args:
        folder: Where they are.
        network: The network.
        optimizer: Its optimizer.
        keep: How many to keep.
        writes: False for a worker that is not the chief: it takes part in saving, since some variables are spread
            over the workers, and leaves nothing.
    """

    def __init__(self, folder: Path, network: Any, optimizer: Any, keep: int, writes: bool = True):
        tf = import_tensorflow()
        self.folder = folder
        self._keep = keep
        self._writes = writes
        self._newest_whole: Place | None = None
        self._saved_at = time.monotonic()
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._sums = tf.Variable([0.0] * 4, dtype=tf.float64, trainable=False)
        self._state = tf.train.Checkpoint(
            network=network, optimizer=optimizer, epoch=self._epoch, step=self._step, sums=self._sums
        )

    @property
    def age_s(self) -> float:
        """Seconds since the last one was saved by this process, or since it began."""
        return time.monotonic() - self._saved_at

    def save(self, place: Place, sums: Sums) -> None:
        """Write the state at a place, then drop the oldest ones; on a failure all old ones are still there.

        Args:
            place: Where the run is.
            sums: Figures of the steps that are trained of its unfinished epoch.
        """
        if place != self._newest_whole:  # else a run was stopped in a validation, twice: nothing has changed
            self._epoch.assign(place.epoch)
            self._step.assign(place.step)
            self._sums.assign(sums.values)
            self._write(place)
        self._newest_whole = place
        self._saved_at = time.monotonic()

    def _write(self, place: Place) -> None:
        with contextlib.ExitStack() as stack:
            if self._writes:
                scratch = stack.enter_context(files.scratch_directory(self.folder))
            else:
                scratch = stack.enter_context(files.temporary_directory("checkpoint"))
            (scratch / "new").mkdir()
            self._state.write(str(scratch / "new" / "state"))
            if self._writes:
                files.sync(scratch / "new")
                target = self.folder / str(place)
                if target.exists():  # damaged: what is whole is restored, and a run that goes on from it is past it
                    target.rename(scratch / "damaged")
                (scratch / "new").rename(target)
                self._drop_others(place)

    def _drop_others(self, newest: Place) -> None:
        """Remove all but the newest ones."""
        places = list_places(self.folder)
        # Later ones are damaged, a resumed run fell back from them: they must not push out what is whole.
        later = [place for place in places if place > newest]
        earlier = [place for place in places if place <= newest]
        for dropped in (*later, *earlier[: -self._keep]):
            shutil.rmtree(self.folder / str(dropped), ignore_errors=True)

    def restore(self, say: Progress) -> Start | None:
        """Restore the newest checkpoint that is whole.

        Args:
            say: Called with a warning for each damaged one.

        Returns:
            Where the run goes on; None if there is no checkpoint.

        Raises:
            BopkitError: There are some, and all are damaged.
        """
        places = list_places(self.folder)
        for place in reversed(places):
            reason = self._restore(place)
            if reason is None:
                self._newest_whole = place
                return Start(Place(int(self._epoch), int(self._step)), Sums(*self._sums.numpy().tolist()))
            say(f"Warning: checkpoint {self.folder / str(place)} is damaged ({reason}); trying the one before")
        if places:
            raise BopkitError(
                f"Every checkpoint in {self.folder} is damaged.",
                "Restore them from a copy, or name another --output-dir to start over.",
            )
        return None

    def _restore(self, place: Place) -> str | None:
        """Restore one checkpoint after reading all of it, so that damage surfaces now; says what is wrong with it."""
        tf = import_tensorflow()
        path = str(self.folder / str(place) / "state")
        try:
            reader = tf.train.load_checkpoint(path)
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)  # checks its checksum
            self._state.read(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, IndexError, ValueError, RuntimeError) as error:
            return " ".join(str(error).split())[:120] or type(error).__name__
        return None
