"""What a person should know of a run before its first step."""

from __future__ import annotations

import math

import numpy as np

from bopkit.data.fit import describe_fit
from bopkit.optim import Claim
from bopkit.runs.directory import Place
from bopkit.text import count_text, printable, shortened_list
from bopkit.training.options import TrainOptions
from bopkit.training.plan import TrainingPlan


def opening_lines(
    plan: TrainingPlan, claims: list[Claim], start: Place, estimated_pictures: int, verbose: bool = False
) -> list[str]:
    """Network, data, devices and settings; which optimizer trains which variable; warnings; where a run goes on.

    Args:
        plan: The run.
        claims: Which optimizer has which variable.
        start: Where the run begins or goes on.
        estimated_pictures: Pictures that batch-norm statistics are estimated over; 0 where they are not.
        verbose: Whether to name every variable.
    """
    options, placement, preprocessing = plan.options, plan.placement, plan.preprocessing
    if options.jit:
        xla = "with XLA" if placement.on_gpu or placement.name == "tpu" else f"with XLA ({_SLOWER_ON_CPU})"
    else:
        xla = "without XLA (default: not faster everywhere; bopkit doctor --gpu shows)"
    parts = f", each replica's in {options.accumulate} parts" if options.accumulate > 1 else ""
    lines = [
        f"{plan.architecture.name} with {plan.set_name} on {plan.data.name}, preprocessing {preprocessing.name}, "
        f"input {' x '.join(map(str, preprocessing.input_shape))}, {plan.classes} classes, "
        f"{count_text(plan.data.count(plan.train_split), 'picture')}, "
        f"{count_text(plan.steps_per_epoch, 'step')} per epoch",
        f"on {placement.describe()}, {plan.precision.name} ({plan.precision.reason}), {xla}, "
        f"batches of {plan.hparams.batch_size}{parts}; seed {options.seed}",
        *_claim_lines(claims, verbose),
    ]
    if placement.on_gpu and not options.deterministic:
        lines.append(
            "GPU kernels add up in no fixed order: this run will not repeat bit for bit; with --deterministic it would"
        )
    if placement.replicas > 1 and not options.sync_batch_norm:
        lines.append("batch norm uses each replica's part of a batch; with --sync-batch-norm it uses the whole batch")
    if estimated_pictures:
        lines.append(
            f"batch-norm statistics are estimated anew over {count_text(estimated_pictures, 'training picture')} "
            "before each validation and in model files; --batch-norm-pictures 0 keeps the moving averages"
        )
    if not plan.has_validation_pictures:
        lines.append(_line_on_seen_figures(plan.validation_split, options))
    lines += _lines_on_classes(plan)
    lines += describe_fit(plan.data, plan.train_split, preprocessing)
    lines += _lines_on_length(plan)
    if start > Place(0, 0):
        within = f", step {start.step} of the next" if start.step else ""
        lines.append(f"resuming after epoch {start.epoch} of {plan.hparams.epochs}{within}")
    return lines


UNBALANCED = 3
"""Times as many pictures in the largest class as in the smallest, from which a line says so."""

_SLOWER_ON_CPU = "usually slower on a CPU, by its convolutions"


def _claim_lines(claims: list[Claim], verbose: bool) -> list[str]:
    """Which optimizer trains which variable, or how many variables and weights each has."""
    if verbose:
        return [f"  {claim.optimizer:6}  {claim.variable}  {list(claim.shape)}" for claim in claims]
    shares = []
    for optimizer in dict.fromkeys(claim.optimizer for claim in claims):
        shapes = [claim.shape for claim in claims if claim.optimizer == optimizer]
        shares.append(
            f"{optimizer} trains {count_text(len(shapes), 'variable')} ({sum(map(math.prod, shapes)):,} weights)"
        )
    return [f"{', '.join(sorted(shares, key=lambda share: share.startswith('Adam')))}; --verbose names them"]


def _line_on_seen_figures(validation_split: str, options: TrainOptions) -> str:
    """That validation is on test pictures, and which option keeps others for it."""
    chosen = options.validation_split or options.train_split
    tenth = "--validationset keeps a tenth of the training split for that"
    hint = "--validation-split names others" if chosen else tenth
    return f"validation is on split {validation_split}, so its figures are seen during training ({hint})"


def _lines_on_classes(plan: TrainingPlan) -> list[str]:
    """Which classes a split lacks, and that some have many more pictures than others; as far as labels are known."""
    lines = []
    names = np.array([printable(name) for name in plan.data.class_names])
    for split, use in ((plan.train_split, "trains"), (plan.validation_split, "validates")):
        labels = plan.data.labels(split)
        if labels is None:
            continue
        counts = np.bincount(labels, minlength=plan.classes)
        lacking = names[counts == 0].tolist()
        if lacking:
            lines.append(f"Warning: split {split}, which {use}, has no picture of {shortened_list(lacking)}")
        if split == plan.train_split and plan.hparams.class_weights is None:
            fewest, most = counts[counts > 0].min(), counts.max()
            if most >= UNBALANCED * fewest:
                lines.append(
                    f"classes have {fewest:,} to {count_text(int(most), 'training picture')}; --hparams "
                    "class_weights=balanced lets each count alike"
                )
    return lines


def _lines_on_length(plan: TrainingPlan) -> list[str]:
    """What a run that was made longer has of a run of that length."""
    length, epochs = plan.length, plan.hparams.epochs
    if not length.extended_after:
        return []
    lengths = f"made longer, from {' to '.join(map(str, length.extended_after))} to {epochs} epochs"
    if not length.held:
        return [f"{lengths}: no schedule depends on the length, so all is as if {epochs} had been asked for at first"]
    return [
        f"{lengths}: {' and '.join(length.held)} come to their end after epoch {length.schedule_epochs} and stay "
        f"there, so this is not what a run of {epochs} epochs from the start would be"
    ]
