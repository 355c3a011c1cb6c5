"""The picture of a sweep: what is drawn is what was found."""

import dataclasses
import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from bopkit.sweep import SweepOptions, SweepResult, TrialRow
from bopkit.sweep.picture import draw_sweep
from bopkit.sweep.plan import plan_sweep
from bopkit.training import TrainOptions


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr("bopkit.sweep.picture.write_figure", lambda figure, targets: kept.append(figure))
    return kept


def plan_of(tmp_path, **options):
    return plan_sweep(
        SweepOptions(training=TrainOptions(model="binarynet", dataset="digits"), output_dir=tmp_path, **options)
    )


def result_of(plan, rows):
    return SweepResult("study", "", plan.output_dir, tuple(rows), best=0, command="")


def trial_row(trial, point, top1, interval, seeds):
    return TrialRow(trial, "finished", point, top1, val_top1_interval=interval, seeds=seeds)


def write_epochs(folder, top1):
    folder.mkdir(parents=True)
    rows = [{"kind": "epoch", "epoch": epoch, "val_top1": each} for epoch, each in enumerate(top1, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def points(axes):
    """The trials in a panel: x, y."""
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if line.zorder >= 4)


def test_values_by_each_dimension_and_the_curves_of_the_best(tmp_path, figures):
    plan = plan_of(tmp_path, grid={"gamma": "1e-2|1e-3", "optimizer": "bop|latent"}, seeds=(0, 1))
    rows = []
    for trial, point in enumerate(plan.points):
        top1 = 0.5 + trial / 10
        interval = (top1 - 0.02, top1 + 0.04)
        rows.append(trial_row(trial, point, top1, interval, {0: top1 - 0.01, 1: top1 + 0.01}))
        for seed in (0, 1):
            write_epochs(plan.runs_of(trial)[seed], [top1 - 0.2, top1 + (0.01 if seed else -0.01)])
    draw_sweep(plan, result_of(plan, rows))
    gamma, optimizer, curves, *_ = figures[0].axes
    # gamma means nothing to latent weights, trials 1 and 3.
    assert points(gamma) == [(0, 50), (1, pytest.approx(70))]
    assert points(optimizer) == [(-0.15, 50), (0.15, 70), (0.85, 60), (1.15, 80)]
    assert [text.get_text() for text in gamma.get_xticklabels()] == ["1e-2", "1e-3"]
    bars = [segment for bar in gamma.collections for segment in bar.get_segments()]
    np.testing.assert_allclose(bars[0], [[0, 48], [0, 54]])
    best, *_ = curves.lines
    np.testing.assert_allclose(best.get_data(), [[1, 2], [60, 80]])  # the mean of both seeds
    labels = [text.get_text() for text in curves.get_legend().get_texts()]
    assert labels[0] == "trial 3: optimizer=latent" and labels[1] == "trial 2: gamma=1e-3, optimizer=bop"


def test_ranges_pruned_trials_and_runs_on_other_hosts(tmp_path, figures):
    plan = plan_of(tmp_path, search={"threshold": "log:1e-8..1e-5"}, trials=3)
    rows = [
        TrialRow(0, "finished", {"threshold": 1e-7}, 0.5, epochs=3),
        TrialRow(1, "pruned", {"threshold": 1e-6}, 0.9, epochs=1),
        TrialRow(2, "waiting", {}),
    ]
    write_epochs(plan.runs_of(1)[0], [0.9])
    draw_sweep(plan, result_of(plan, rows))
    threshold, curves = figures[0].axes
    assert threshold.get_xscale() == "log"
    assert points(threshold) == [(1e-7, 50), (1e-6, 90)]
    assert [line.get_data()[1].tolist() for line in curves.lines] == [[90]]
    colours = {line.get_xdata()[0]: (line.get_color(), line.get_markerfacecolor()) for line in threshold.lines}
    assert colours[1e-7][0] != colours[1e-6][0] and colours[1e-6][1] == "white"  # a pruned trial is never the best


def test_nothing_is_drawn_before_the_first_epoch(tmp_path):
    plan = plan_of(tmp_path, grid={"gamma": "1e-2"})
    assert draw_sweep(plan, result_of(plan, [TrialRow(0, "running", {"gamma": 1e-2})])) == []
    assert not list(tmp_path.iterdir())


def test_texts_do_not_overlap_and_names_are_no_formulas(tmp_path, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda each, *args, **options: (figures.append(each), save(each, *args, **options))
    )
    grid = {"gamma": "1e-2|1e-3|1e-4", "threshold": "0|1e-6", "filters": "16|32", "dense_units": "16|32"}
    plan = plan_of(tmp_path, grid=grid, seeds="0-2")
    plan = dataclasses.replace(plan, training=dataclasses.replace(plan.training, dataset="$a$_\x07"))
    rows = []
    for trial, point in enumerate(plan.points):
        rows.append(trial_row(trial, point, 0.5, (0.4, 0.6), {0: 0.4, 1: 0.5, 2: 0.6}))
        write_epochs(plan.runs_of(trial)[0], [0.4])
    (path,) = draw_sweep(plan, result_of(plan, rows))
    assert path.read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    figure.draw_without_rendering()
    panels = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
    boxes = [*panels, *(legend.get_window_extent() for legend in figure.legends), figure._suptitle.get_window_extent()]
    assert len(boxes) == 7
    assert not any(box.overlaps(other) for number, box in enumerate(boxes) for other in boxes[:number])
