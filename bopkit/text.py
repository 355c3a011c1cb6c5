"""Figures and a stranger's text as a person reads them, the same on the terminal, in a page and in a table."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from typing import Any

SMALL = 0.1
"""Settings below are written with an exponent, as hyper-parameters are in papers."""


def printable(text: str) -> str:
    """Text with escapes in place of what moves the cursor, breaks the line, changes a terminal or no XML can hold."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def one_line(text: str) -> str:
    """Text on one line: every stretch of white space is one blank, and what cannot be printed has escapes."""
    return " ".join(printable(part) for part in text.split())


def size_text(size_bytes: int | float | None) -> str:
    """A size for a person, in decimal units: `1.35 MB`."""
    if size_bytes is None:
        return "-"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.2f} {unit}"
    return f"{size_bytes:.0f} B"


def percent_text(share: float | None) -> str:
    """A share from 0 to 1 in percent: `97.25 %`."""
    return "-" if share is None else f"{100 * share:.2f} %"


def mean_text(mean: float | None, interval: tuple[float, float] | None) -> str:
    """A mean of shares in percent with half of its interval, if there is one: `87.10 ± 0.31 %`."""
    if mean is None or interval is None:
        return percent_text(mean)
    return f"{100 * mean:.2f} ± {50 * (interval[1] - interval[0]):.2f} %"


def ms_text(value_ms: float | None) -> str:
    """A time in milliseconds, to a microsecond below one second: `4.183`."""
    if value_ms is None:
        return "-"
    return f"{value_ms:.3f}" if value_ms < 1000 else f"{value_ms:,.0f}"


def change_text(ratio: float | None) -> str:
    """A ratio to something earlier in percent, with its sign: `+4.2 %`."""
    return "-" if ratio is None else f"{100 * (ratio - 1):+.1f} %"


def duration_text(seconds: float) -> str:
    """A time for a person, to a second: `2 min 5 s`."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"


def count_text(count: int, noun: str) -> str:
    """A number of things: `1 run`, `1,000 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def threads_text(threads: int) -> str:
    """A number of threads: `1 thread`."""
    return count_text(threads, "thread")


def value_text(value: Any) -> str:
    """The value of a setting, as short as it can be typed: `1e-3`, `none`; reading it gives the same value."""
    if value is None:
        return "none"
    if isinstance(value, list):  # of things that have no short name, how many there are
        return str(len(value)) if any(isinstance(each, dict) for each in value) else ",".join(map(value_text, value))
    if not isinstance(value, float):
        return str(value)
    if 0 < abs(value) < SMALL:
        return format(decimal.Decimal(repr(value)).normalize(), "e")
    return format(value, "g") if float(format(value, "g")) == value else repr(value)


def setting_text(name: str, value: Any) -> str:
    """A setting as it is typed after `--hparams`: `gamma=1e-3`."""
    return f"{name}={value_text(value)}"


def shortened_list(texts: Sequence[str], most: int = 3) -> str:
    """Texts in a sentence, the first ones and how many more: `a, b, c and 14 more`; the last two joined by `and`."""
    if len(texts) > most:
        return f"{', '.join(texts[:most])} and {len(texts) - most:,} more"
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
