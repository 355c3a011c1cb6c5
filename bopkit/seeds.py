"""The seeds that every random generator here takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bopkit.errors import UsageError

MAX_SEED = 2**31 - 2
"""Largest seed: TensorFlow and NumPy take 32 bits, and 0 is moved up by one."""

MAX_SEEDS = 1000
"""Largest number of seeds in a list: beyond it a typing error is likelier than a wish."""


def read_seeds(seeds: str | Sequence[int]) -> tuple[int, ...]:
    """The seeds of a list.

    Args:
        seeds: Whole numbers, or a text such as `0-4`, `0,1,2` or `0-2,7`.

    Raises:
        UsageError: It is no such list, it is empty, or a seed is out of range or named twice.
    """
    if isinstance(seeds, int):
        raise UsageError(f"seeds is {seeds}, not a list.", f"Write [{seeds}], or '0-4' for five of them.")
    found: list[int] = []
    for part in seeds.split(",") if isinstance(seeds, str) else map(str, seeds):
        numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if numbers is None:
            raise UsageError(f"{part.strip()!r} is no seed.", "Write for instance --seeds 0-4 or --seeds 0,1,2.")
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if last < first or last - first >= MAX_SEEDS:
            problem = "goes down" if last < first else f"is more than {MAX_SEEDS} seeds"
            raise UsageError(f"{part.strip()} {problem}.", "Write for instance --seeds 0-4 or --seeds 0,1,2.")
        found += range(first, last + 1)
    if not found:
        raise UsageError("The list of seeds is empty.", "Name some, or leave it out.")
    for number, seed in enumerate(found):
        check_seed(seed)
        if seed in found[:number]:
            raise UsageError(f"Seed {seed} is named twice.", "Leave one of the two out.")
    return tuple(found)


def check_seed(seed: int) -> None:
    """Raise a UsageError unless the seed is from 0 to `MAX_SEED`."""
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"Seed {seed} is out of range.", f"Use a number from 0 to {MAX_SEED}.")
