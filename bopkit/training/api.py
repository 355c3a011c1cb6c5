"""Training from Python: one function with keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit.progress import Progress, silent
from bopkit.training.callbacks import Callbacks
from bopkit.training.observer import Observer
from bopkit.training.options import TrainOptions
from bopkit.training.result import TrainResult
from bopkit.training.trainer import run_training


def train_model(
    model: str,
    dataset: str,
    *,
    hparams_set: str | None = None,
    hparams: Mapping[str, Any] | None = None,
    preprocess_fn: str = "default",
    from_model: str | Path | None = None,
    freeze: Sequence[str] | None = None,
    freeze_batch_norm: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    skip_damaged: bool = False,
    data_dir: str | Path | None = None,
    data_cache: str | None = None,
    dataset_version: str | None = None,
    output_prefix: str | Path = "runs",
    output_dir: str | Path | None = None,
    extend: bool = False,
    teacher: Sequence[str | Path] | None = None,
    teacher_preprocess_fn: str | None = None,
    train_split: str | None = None,
    validation_split: str | None = None,
    validationset: bool = False,
    tensorboard: bool = True,
    device: str = "auto",
    strategy: str = "auto",
    precision: str | None = None,
    jit: bool = False,
    accumulate: int = 1,
    sync_batch_norm: bool = False,
    batch_norm_pictures: int | None = None,
    deterministic: bool = False,
    seed: int = 0,
    checkpoint_every_minutes: float = 10.0,
    keep: int = 2,
    best_by: str = "val_top1",
    early_stop: int | None = None,
    log_every: int = 50,
    limit_steps: int | None = None,
    dry_run: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
    live_bar: bool = False,
    verbose: bool = False,
) -> TrainResult:
    """Train a network of the zoo, or of your own, on a dataset.

    The arguments are the fields of `bopkit.training.TrainOptions`, which describes each of them, and five more:
    `on_epoch` is called with each epoch's row once row and checkpoint are on disk; an exception in it ends the run;
    `callbacks` are modules, names of modules or objects with functions as `bopkit.training.callbacks` says;
    `progress` is called with each line for the user, None for silence; `live_bar` draws a progress bar on
    stderr; `verbose` tells `progress` of each variable which optimizer trains it.

    Returns:
        Where the run is, and its last metrics.

    Raises:
        UsageError: A name or value is wrong.
        BopkitError: Missing data, a damaged checkpoint, a loss or a weight that is not finite.
    """
    options = TrainOptions(
        model=model,
        dataset=dataset,
        hparams_set=hparams_set,
        hparams=hparams or {},
        preprocess_fn=preprocess_fn,
        from_model=from_model,
        freeze=freeze,
        freeze_batch_norm=freeze_batch_norm,
        input_shape=input_shape,
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
        checkpoint_every_minutes=checkpoint_every_minutes,
        keep=keep,
        best_by=best_by,
        early_stop=early_stop,
        log_every=log_every,
        limit_steps=limit_steps,
        dry_run=dry_run,
    )
    observer = Observer(
        progress=progress or silent,
        on_epoch=on_epoch,
        callbacks=Callbacks(callbacks),
        live_bar=live_bar,
        verbose=verbose,
    )
    return run_training(options, observer)
