"""`bopkit data list`, and `bopkit datasets`, its older name."""

from __future__ import annotations

import dataclasses

from bopkit.cli.arguments import Json
from bopkit.cli.output import print_json, print_table, say


def datasets(json: Json = False) -> None:
    """List the datasets that bopkit knows by name."""
    from bopkit.data.catalogue import list_datasets
    from bopkit.data.preprocessing import preprocessing_names

    found = list_datasets()
    if json:
        print_json([dataclasses.asdict(facts) for facts in found])
        return
    print_table(
        ["name", "classes", "input", "default preprocessing", "test split", "pictures", "source"],
        [
            [
                facts.name,
                str(facts.classes),
                "x".join(map(str, facts.input_shape)),
                facts.default_preprocessing,
                facts.test_split,
                ", ".join(f"{split} {count:,}" for split, count in facts.pictures.items()),
                facts.source,
            ]
            for facts in found
        ],
        right=["classes"],
        text=["pictures", "source"],
        important=["input", "classes", "pictures", "default preprocessing", "test split"],
    )
    say(
        f"--preprocess-fn takes: default, {', '.join(preprocessing_names())}. A range may follow the name: "
        "resize:0..1, resize:0..255, resize:imagenet, resize:mean=0.5,std=0.25."
    )
    say("Any other TFDS builder with image and label works too: `bopkit data prepare NAME`, then `--dataset NAME`.")
    say("Your own pictures: --dataset folder:PATH, csv:FILE, npz:FILE or idx:FOLDER (docs/training.md).")
