"""Names of runs in legends: the set, and what differs beyond it; hyper-parameters of other optimizers are left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit.batch_norm import default_pictures
from bopkit.errors import BopkitError
from bopkit.hparams import BUILT_IN
from bopkit.registry import MODELS
from bopkit.runs.summary import RunSummary, differing_settings
from bopkit.text import setting_text

_SET = "hparams_set"


def label_runs(runs: Sequence[RunSummary]) -> list[str]:
    """A name for each run, all different: what differs between them, and where it is not enough the folder.

    Where sets differ, they are named, and what follows from the set is not told once more.

    Args:
        runs: As from `summarise_run`.

    Returns:
        One name a run, such as `gamma=1e-3`, `latent`, `bop, gamma=1e-3` or `gamma=1e-3 (my_run)`.
    """
    differing = differing_settings(runs)
    told = [name for name in (differing[0] if differing else ()) if name != _SET and _is_news(name, runs, differing)]
    settings = [_label(run, each, told) for run, each in zip(runs, differing, strict=True)]
    names, paths = [Path(run.path).name for run in runs], [run.path for run in runs]
    for labels in (settings, _with_names(settings, names)):
        if all(labels) and len(set(labels)) == len(labels):
            return labels
    return _with_names(settings, paths)


def applies(name: str, optimizer: Any) -> bool:
    """Whether a hyper-parameter means something to an optimizer; to one that is not known here, all do."""
    own = {stem for stems in BUILT_IN.values() for stem in stems if _is_of(name, stem)}
    return not own or any(stem in BUILT_IN.get(optimizer, own) for stem in own)


def _is_of(name: str, stem: str) -> bool:
    return name == stem or name.startswith(f"{stem}_")


def _label(run: RunSummary, differing: dict[str, Any], told: Sequence[str]) -> str:
    words = [str(differing[_SET])] if differing.get(_SET) is not None else []
    own = [name for name in told if name in run.settings and applies(name, run.settings.get("optimizer"))]
    return ", ".join(words + [setting_text(name, differing[name]) for name in own])


def _is_news(name: str, runs: Sequence[RunSummary], differing: Sequence[dict[str, Any]]) -> bool:
    """Whether a setting differs beyond what the sets that are named tell."""
    if _SET not in differing[0]:
        return True
    return any(
        run.settings and applies(name, run.settings.get("optimizer")) and _of_set(run).get(name, _UNKNOWN) != each[name]
        for run, each in zip(runs, differing, strict=True)
    )


_UNKNOWN = object()


def _of_set(run: RunSummary) -> dict[str, Any]:
    """The values of a run's set, and what follows from them, if its network is one of the zoo.

    Code that a run names is not imported.
    """
    if run.model is None or run.hparams_set is None or run.model not in MODELS:
        return {}
    try:
        hparams = MODELS.load(run.model).hparams(run.hparams_set)
    except BopkitError:  # a set of another version
        return {}
    return {**hparams.model_dump(), "batch_norm_pictures": default_pictures(hparams.optimizer)}


def _with_names(settings: Sequence[str], names: Sequence[str]) -> list[str]:
    """Settings with a name in brackets; the name alone where there are none."""
    return [f"{text} ({name})" if text else name for text, name in zip(settings, names, strict=True)]
