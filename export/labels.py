"""The file of labels that goes with an artifact: one class name a line, in the order of the scores."""

from __future__ import annotations

import unicodedata

from bopkit.errors import BopkitError

LABELS_FILE = "labels.txt"
"""Name of the file."""


def labels_text(labels: tuple[str, ...]) -> bytes:
    """The content of the file, UTF-8.

    Raises:
        BopkitError: A name would not stay on its line, so that later ones would belong to other classes.
    """
    for label in labels:
        if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in label):
            raise BopkitError(
                f"The class name {label!r} holds a control character, such as a line break; labels are one a line.",
                "Give the class another name in the dataset, or leave class_names out of the model's card.",
            )
    return "".join(f"{label}\n" for label in labels).encode()
