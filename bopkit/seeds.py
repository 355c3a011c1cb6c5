"""The seeds that every random generator here takes."""

from __future__ import annotations

from bopkit.errors import UsageError

MAX_SEED = 2**31 - 2
"""Largest seed: TensorFlow and NumPy take 32 bits, and 0 is moved up by one."""


def check_seed(seed: int) -> None:
    """Raise a UsageError unless the seed is from 0 to `MAX_SEED`."""
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"Seed {seed} is out of range.", f"Use a number from 0 to {MAX_SEED}.")
