"""`bopkit train`."""

from __future__ import annotations

import sys
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
    Model,
    PicturesShape,
    Precision,
    PreprocessFn,
    Seed,
    Teacher,
    TeacherPreprocessFn,
    TrainSplit,
    ValidationSplit,
    Verbose,
    parse_shape,
)
from bopkit.cli.next_step import say_export_next
from bopkit.cli.output import percent_text, print_json, print_path, say, size_text
from bopkit.errors import UsageError


def train(
    model: Model,
    dataset: Dataset = None,
    hparams_set: HparamsSet = None,
    hparams: Hparams = None,
    preprocess_fn: PreprocessFn = "default",
    from_model: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start with the weights of a run, a pulled network, a .h5 file or pull:NAME, as far as they fit.",
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            "--freeze", metavar="PATTERN", help="Do not train layers of that name; * and ? stand for any. Repeatable."
        ),
    ] = None,
    freeze_batch_norm: Annotated[
        bool,
        typer.Option(
            "--freeze-batch-norm", help="Keep the batch norms that --from brought as they are, statistics included."
        ),
    ] = False,
    input_shape: PicturesShape = None,
    data_dir: DataDir = None,
    data_cache: DataCache = None,
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Look at every picture of a folder, and leave out those that are damaged."),
    ] = False,
    dataset_version: Annotated[
        str | None, typer.Option("--dataset-version", help="Version of the TFDS builder.")
    ] = None,
    output_prefix: Annotated[
        Path, typer.Option("--output-prefix", help="A new run is written to PREFIX/dataset/model/date_time.")
    ] = Path("runs"),
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--logdir", help="Folder of this run; if there is a run in it, that is resumed."),
    ] = None,
    extend: Annotated[
        bool,
        typer.Option("--extend", help="Train the run in --output-dir on, to the larger number of epochs in --hparams."),
    ] = False,
    teacher: Teacher = None,
    teacher_preprocess_fn: TeacherPreprocessFn = None,
    train_split: TrainSplit = None,
    validation_split: ValidationSplit = None,
    validationset: Annotated[
        bool, typer.Option("--validationset", help="Validate on a tenth of the training split, not on the test split.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard logs.")] = True,
    device: Device = "auto",
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", metavar="auto|one|mirrored|multiworker|tpu", help="auto: all GPUs, and all workers."
        ),
    ] = "auto",
    precision: Precision = None,
    jit: Annotated[bool, typer.Option("--jit", help="Compile the forward and backward pass with XLA.")] = False,
    accumulate: Annotated[
        int,
        typer.Option("--accumulate", min=1, help="Compute each batch in N parts; the optimizer steps once per batch."),
    ] = 1,
    sync_batch_norm: Annotated[
        bool,
        typer.Option(
            "--sync-batch-norm", help="Compute batch norm over the whole batch, not over each replica's part."
        ),
    ] = False,
    batch_norm_pictures: BatchNormPictures = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Use kernels that repeat bit for bit; slower on a GPU.")
    ] = False,
    seed: Seed = 0,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            "--checkpoint-every",
            metavar="MINUTES",
            help="Minutes between checkpoints inside an epoch; 0.1 is six seconds.",
        ),
    ] = 10.0,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Number of checkpoints to keep.")] = 2,
    best_by: Annotated[
        str,
        typer.Option(
            "--best-by",
            metavar="val_top1|val_balanced_accuracy|val_loss",
            help="What the best epoch is chosen by, for model.h5 and --early-stop.",
        ),
    ] = "val_top1",
    early_stop: Annotated[
        int | None,
        typer.Option("--early-stop", min=1, help="Stop after N epochs without a better one; see --best-by."),
    ] = None,
    log_every: Annotated[
        int, typer.Option("--log-every", min=1, help="Steps between two rows of metrics, with the flips of each layer.")
    ] = 50,
    limit_steps: LimitSteps = None,
    callback: Annotated[
        list[str] | None,
        typer.Option(
            "--callback",
            metavar="MODULE|FILE.py",
            help="Your own module whose on_start, on_step, on_epoch, on_end are called: docs/training.md. Repeatable.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build everything, run two steps, keep nothing.")] = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Train a network with Bop; the same command with the same --output-dir resumes."""
    from bopkit.hparams import parse_overrides
    from bopkit.training import Observer, TrainOptions, run_training
    from bopkit.training.callbacks import Callbacks

    if dataset is None:
        raise UsageError("No dataset is named.", "Add --dataset NAME; `bopkit data list` lists them.")
    options = TrainOptions(
        model=model,
        dataset=dataset,
        hparams_set=hparams_set,
        hparams=parse_overrides(hparams or []),
        preprocess_fn=preprocess_fn,
        from_model=from_model,
        freeze=freeze,
        freeze_batch_norm=freeze_batch_norm,
        input_shape=parse_shape(input_shape),
        skip_damaged=skip_damaged,
        data_dir=data_dir,
        data_cache=data_cache,
        dataset_version=dataset_version,
        output_prefix=output_prefix,
        output_dir=output_dir,
        extend=extend,
        teacher=teacher,
        teacher_preprocess_fn=teacher_preprocess_fn,
        train_split=train_split,
        validation_split=validation_split,
        validationset=validationset,
        tensorboard=tensorboard,
        device=device,
        strategy=strategy,
        precision=precision,
        jit=jit,
        accumulate=accumulate,
        sync_batch_norm=sync_batch_norm,
        batch_norm_pictures=batch_norm_pictures,
        deterministic=deterministic,
        seed=seed,
        checkpoint_every_minutes=checkpoint_every,
        keep=keep,
        best_by=best_by,
        early_stop=early_stop,
        log_every=log_every,
        limit_steps=limit_steps,
        dry_run=dry_run,
    )
    has_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    observer = Observer(progress=say, callbacks=Callbacks(callback or []), live_bar=has_terminal, verbose=verbose)
    result = run_training(options, observer)
    if json:
        print_json(
            {
                "output_dir": str(result.output_dir) if result.output_dir else None,
                "model_file": str(result.model_file) if result.model_file else None,
                "validation_split": result.validation_split,
                "validation_pictures": result.validation_pictures,
                "resumed_after_epochs": result.resumed_after_epochs,
                "metrics": result.metrics,
            }
        )
        return
    top1 = percent_text(result.metrics.get("val_top1"))
    if result.model_file is None:
        say("dry run: everything builds, and a step or two ran; nothing was kept")
        say("Next: the same command without --dry-run")
    else:
        size = size_text(result.model_file.stat().st_size)
        say(f"{size}, validation top-1 {top1} on {result.validation_pictures} pictures of {result.validation_split}")
        print_path(result.model_file)
        say_export_next(model, result.model_file)
