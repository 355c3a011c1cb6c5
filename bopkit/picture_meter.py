"""How many pictures are done, how fast, and how long the rest takes."""

from __future__ import annotations

import time

from bopkit.progress import Progress
from bopkit.text import duration_text

PROGRESS_EVERY_S = 5.0
"""Seconds between two lines of progress."""


class PictureMeter:
    """Counts pictures and measures their speed; prints a line of progress now and then.

    Args:
        pictures: Number of all pictures.
        missing: Those that are still to be computed.
        progress: Called with one line every `PROGRESS_EVERY_S` seconds.

    Attributes:
        computed: Pictures that were counted.
    """

    def __init__(self, pictures: int, missing: int, progress: Progress):
        self._pictures, self._missing = pictures, missing
        self._progress = progress
        self.computed = 0
        self._began_s: float | None = None
        self._next_line_s = time.monotonic() + PROGRESS_EVERY_S
        if missing < pictures:
            progress(f"resuming: {pictures - missing} of {pictures} pictures are done already")

    @property
    def images_per_second(self) -> float | None:
        """Since `begin`; None before the first picture."""
        if self._began_s is None or not self.computed:
            return None
        return self.computed / (time.monotonic() - self._began_s)

    def begin(self) -> None:
        """Start the clock, the first time: TensorFlow's own start does not count."""
        if self._began_s is None:
            self._began_s = time.monotonic()

    def count(self, pictures: int) -> None:
        """Add pictures that were computed."""
        self.computed += pictures
        if time.monotonic() > self._next_line_s and self.computed < self._missing:
            rate = self.images_per_second or 0.0
            left_s = (self._missing - self.computed) / rate
            done = self._pictures - self._missing + self.computed
            self._progress(f"{done} of {self._pictures} pictures, {rate:.3g} per second, {duration_text(left_s)} left")
            self._next_line_s = time.monotonic() + PROGRESS_EVERY_S
