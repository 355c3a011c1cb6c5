"""`bopkit sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import (
    BatchNormPictures,
    DataCache,
    DataDir,
    Dataset,
    Device,
    Hparams,
    HparamsSet,
    Json,
    LimitSteps,
    PicturesShape,
    Precision,
    PreprocessFn,
    Seed,
    Teacher,
    TeacherPreprocessFn,
    TrainSplit,
    ValidationSplit,
    complete_model,
    parse_shape,
)
from bopkit.cli.output import mean_text, percent_text, print_json, print_table, say, say_command, show


def sweep(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Name of a network (`bopkit models`); a preset has its own.", autocompletion=complete_model
        ),
    ] = None,
    dataset: Dataset = None,
    hparams_set: HparamsSet = None,
    hparams: Hparams = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="'a=1|2'", help="Train all combinations of these values; repeatable."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", metavar="a=[log:]LOW..HIGH", help="Search this range, or values 'a=x|y'; repeatable."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Total trials of a search, over all processes and restarts; default: 20."),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option("--sampler", metavar="grid|tpe", help="Default: tpe with --search, else grid.")
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            "--pruner", metavar="median|none", help="Stop bad trials early; default: median with tpe, else none."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="paper-5.1", help="A sweep of the Bop paper, with its figure.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="Database of the study; default: SQLite beside the runs."),
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Name of the study in the database.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="Folder of the runs; default: runs/DATASET/MODEL/sweep.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="0-4|0,1,2", help="Train every setting with each of these seeds; their mean counts."
        ),
    ] = None,
    preprocess_fn: PreprocessFn = "default",
    input_shape: PicturesShape = None,
    data_dir: DataDir = None,
    data_cache: DataCache = None,
    teacher: Teacher = None,
    teacher_preprocess_fn: TeacherPreprocessFn = None,
    batch_norm_pictures: BatchNormPictures = None,
    train_split: TrainSplit = None,
    validation_split: ValidationSplit = None,
    validationset: Annotated[
        bool | None,
        typer.Option(
            "--validationset/--no-validationset",
            help="Compare on a tenth of the training split, not on the test split; default: yes with tpe.",
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = None,
    limit_steps: LimitSteps = None,
    seed: Seed = 0,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", metavar="auto|one|mirrored|tpu", help="Strategy of each trial, on this machine."),
    ] = None,
    json: Json = False,
) -> None:
    """Train with many hyper-parameters, by grid or search; the same command resumes, also on more hosts."""
    from bopkit.hparams import parse_overrides
    from bopkit.sweep import SweepOptions, run_trials
    from bopkit.sweep.command import hparams_text
    from bopkit.sweep.preset import names_of_trials
    from bopkit.sweep.space import split_options
    from bopkit.training import TrainOptions

    training = TrainOptions(
        **names_of_trials(preset, model, dataset, hparams_set),
        hparams=parse_overrides(hparams or []),
        preprocess_fn=preprocess_fn,
        input_shape=parse_shape(input_shape),
        data_dir=data_dir,
        data_cache=data_cache,
        teacher=teacher,
        teacher_preprocess_fn=teacher_preprocess_fn,
        batch_norm_pictures=batch_norm_pictures,
        train_split=train_split,
        validation_split=validation_split,
        device=device,
        precision=precision,
        limit_steps=limit_steps,
        seed=seed,
        strategy=strategy or "auto",
    )
    options = SweepOptions(
        training=training,
        grid=split_options(grid or [], "--grid"),
        search=split_options(search or [], "--search"),
        trials=trials,
        sampler=sampler,
        pruner=pruner,
        preset=preset,
        storage=storage,
        study=study,
        output_dir=output_dir,
        seeds=seeds,
        validationset=validationset,
    )
    result = run_trials(options, progress=say)
    if json:
        print_json(result.to_dict())
        return
    has_seeds = seeds is not None
    epochs = "epochs in all" if has_seeds else "epochs"  # over the seeds
    columns = {
        "trial": [str(row.trial) for row in result.trials],
        "hyper-parameters": [hparams_text(row.hparams) for row in result.trials],
        "best val top-1": [mean_text(row.val_top1, row.val_top1_interval) for row in result.trials],
        **({"seeds": [str(len(row.seeds)) for row in result.trials]} if has_seeds else {}),
        epochs: [str(row.epochs) for row in result.trials],
        "state": [row.state for row in result.trials],
        "run directory or error": [row.error or row.run_dir or "-" for row in result.trials],
    }
    print_table(
        list(columns),
        zip(*columns.values(), strict=True),
        right=["trial", "best val top-1", "seeds", epochs],
        text=["hyper-parameters", "run directory or error"],
        important=["best val top-1", "state", "hyper-parameters", "seeds", epochs],
    )
    if has_seeds:
        show("± is the 95 % interval of the mean over seeds (Student's t).")
    for figure in result.figures:
        say(f"figure {figure}")
    if result.best is not None:
        best = next(row for row in result.trials if row.trial == result.best)
        say(f"best: trial {best.trial}, validation top-1 {percent_text(best.val_top1)}, {best.run_dir}")
        say_command(f"Next: {result.command}")
