"""Names of datasets of the user's own pictures: a kind and a path, `folder:photos`, and options behind a question mark.

folder:photos?skip-damaged              leave out pictures that cannot be used
folder:photos?splits-of=runs/photos     the pictures of that run, each in the split that it had there; the path is
                                        quoted as in an address
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from urllib.parse import quote, unquote

from bopkit.errors import UsageError

KINDS = {"folder": "folder", "csv": "file", "npz": "file", "idx": "folder"}
"""Kinds of paths that hold pictures, each with what the path is of."""

KINDS_OF_FILES = ("folder", "csv")
"""Those whose pictures are files of their own."""

SKIP_DAMAGED, SPLITS_OF = "skip-damaged", "splits-of="


@dataclasses.dataclass(frozen=True)
class OwnName:
    """The parts of such a name.

    Attributes:
        kind: One of `KINDS`.
        path: As it was typed.
        skips_damaged: Whether to leave out pictures that cannot be used.
        splits_of: The run directory that remembers which pictures were in which split; empty for none.
    """

    kind: str
    path: str
    skips_damaged: bool = False
    splits_of: str = ""

    def __str__(self) -> str:
        options = [SKIP_DAMAGED] * self.skips_damaged + [SPLITS_OF + quote(self.splits_of)] * bool(self.splits_of)
        return f"{self.kind}:{self.path}" + (f"?{'&'.join(options)}" if options else "")


def parse_own_name(name: str) -> OwnName | None:
    """The parts of a name; None of a name of another sort."""
    kind, colon, text = name.partition(":")
    if kind not in KINDS or not colon:
        return None
    path, mark, last = text.rpartition("?")
    options = last.split("&")
    if not mark or not all(each == SKIP_DAMAGED or each.startswith(SPLITS_OF) for each in options):
        return OwnName(kind, text)  # the mark belongs to the path
    splits_of = next((each.removeprefix(SPLITS_OF) for each in options if each.startswith(SPLITS_OF)), "")
    return OwnName(kind, path, SKIP_DAMAGED in options, unquote(splits_of))


_KNOWN_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def known_split(name: str) -> str:
    """`train`, `validation` or `test` for what people call these, in small letters or large; empty for other names."""
    return _KNOWN_SPLITS.get(name.casefold(), "")


def without_options(name: str) -> str:
    """A dataset's name without options, for people: `folder:photos`."""
    own = parse_own_name(name)
    return name if own is None else f"{own.kind}:{own.path}"


def skipping_damaged(name: str) -> str:
    """The name of the same pictures without those that cannot be used.

    Raises:
        UsageError: They are no files of the user's own.
    """
    own = parse_own_name(name)
    if own is None or own.kind not in KINDS_OF_FILES:
        raise UsageError(f"Dataset {name} is not one of picture files of your own.", "Leave out --skip-damaged.")
    return str(dataclasses.replace(own, skips_damaged=True))


def with_splits_of(name: str, run: Path) -> str:
    """The name of the same pictures in the splits that a run had; of datasets that no run remembers the name itself."""
    own = parse_own_name(name)
    if own is None or own.kind not in KINDS_OF_FILES or own.splits_of:
        return name
    return str(dataclasses.replace(own, splits_of=str(run.absolute())))
