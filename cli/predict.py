"""`bopkit predict`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bopkit.cli.arguments import CardPreprocessFn, Json
from bopkit.cli.output import JsonRows, RowTable, is_terminal, say
from bopkit.errors import BopkitError
from bopkit.progress import silent
from bopkit.text import count_text

if TYPE_CHECKING:
    from bopkit.benchmark.predict import PicturePrediction, PredictionFacts


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A run, a pulled network, pull:NAME, a Keras file, a SavedModel or a flatbuffer.",
            show_default=False,
        ),
    ],
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURES", help="Picture files, and folders of them with all below.", show_default=False
        ),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="Classes of each picture.")] = 3,
    preprocess_fn: CardPreprocessFn = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Pictures per batch, of Keras files and SavedModels.")
    ] = 100,
    json: Json = False,
) -> None:
    """Show the best classes of pictures by a trained network; those that cannot be read are named, with exit code 1."""
    from bopkit.benchmark.predict import run_predictions

    shown: _Rows = _Json() if json else _Table()
    facts = run_predictions(
        model,
        pictures,
        top,
        preprocess_fn,
        batch_size,
        on_start=shown.begin,
        on_prediction=shown.add,
        progress=silent if is_terminal() and not json else say,
    )
    shown.end()
    if facts.left_out:
        say(
            f"{count_text(facts.left_out, 'file')} left out, of formats that bopkit does not read: for instance "
            f"{facts.left_out_example}"
        )
    say(f"{facts.model} by {facts.runtime}, {facts.preprocessing_text()}")
    if shown.unreadable:
        raise BopkitError(
            f"{shown.unreadable:,} of {count_text(facts.pictures, 'picture')} could not be read.",
            "Each is named above.",
        )


class _Rows:
    """Prints predictions as they come."""

    unreadable = 0

    def begin(self, facts: PredictionFacts) -> None:
        """Print what stands above them."""

    def add(self, prediction: PicturePrediction) -> None:
        """Print a picture's."""
        if prediction.error is not None:
            self.unreadable += 1
            say(prediction.error)

    def end(self) -> None:
        """Print what stands below them."""


class _Table(_Rows):
    _table: RowTable | None = None

    def begin(self, facts: PredictionFacts) -> None:
        self._widths = [facts.longest_path, max(map(len, facts.class_names)), len("100.00 %")]

    def add(self, prediction: PicturePrediction) -> None:
        from bopkit.benchmark.predict import score_text

        super().add(prediction)
        if not prediction.classes:
            return
        self._table = self._table or RowTable(["picture", "class", "score"], self._widths, right=["score"])
        for each in prediction.classes:
            self._table.add([prediction.picture, each.name, score_text(each.score, prediction.are_probabilities)])

    def end(self) -> None:
        if self._table is not None:
            self._table.end()


class _Json(_Rows):
    def begin(self, facts: PredictionFacts) -> None:
        head: dict[str, Any] = {
            each: getattr(facts, each) for each in ("model", "runtime", "preprocessing", "preprocessing_source")
        }
        self._rows = JsonRows(head, "predictions")

    def add(self, prediction: PicturePrediction) -> None:
        super().add(prediction)
        self._rows.add(dataclasses.asdict(prediction))

    def end(self) -> None:
        self._rows.end()
