"""Figures of runs: what is drawn is what was logged, and files appear whole or not at all."""

import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from written_runs import STEPS_PER_EPOCH, append, epoch_row, step_row, write_run

from bopkit.errors import BopkitError, UsageError
from bopkit.runs.curves import read_curves
from bopkit.runs.plot import SMOOTH_ABOVE_POINTS, draw_column, moving_average, plot_columns, plot_runs


def drawn_lines(curves):
    """The points of every line in the accuracy and in the pi_t panel."""
    panels = Figure().subplots(2, 1)
    draw_column(*panels, curves)
    return [[np.array(line.get_data()) for line in axes.lines] for axes in panels]


def test_what_is_drawn_is_what_was_logged(tmp_path):
    path = write_run(tmp_path / "run", epochs=5, done=3)
    append(path, step_row(80, 2))  # logged again after a crash
    append(path, step_row(130, 4))  # into an epoch that is not finished
    (training, validation), (pi_t,) = drawn_lines({"run": read_curves(path)})
    np.testing.assert_allclose(training, [[1, 2, 3], [61, 62, 63]])
    np.testing.assert_allclose(validation, [[1, 2, 3], [51, 52, 53]])
    steps = np.arange(10, 131, 10)
    np.testing.assert_allclose(pi_t, [steps / STEPS_PER_EPOCH, -4 - steps / 100])
    (_, (first_layer,)) = drawn_lines({"run": read_curves(path, "conv")})
    np.testing.assert_allclose(first_layer[1], -2 - steps / 100)


def test_many_points_are_averaged_before_the_measured_ones(tmp_path):
    path = write_run(tmp_path / "run", epochs=10, every=1)
    curves = read_curves(path)
    assert len(curves.pi_t) == 10 * STEPS_PER_EPOCH > SMOOTH_ABOVE_POINTS
    _, (measured, averaged) = drawn_lines({"run": curves})
    np.testing.assert_array_equal(measured[1], curves.pi_t)
    np.testing.assert_allclose(averaged[1][5:-5], curves.pi_t[5:-5])  # the average of a straight line is the line
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[max(0, at - 2) : at + 3].mean() for at in range(20)]
    np.testing.assert_allclose(moving_average(values, 5), expected)


@pytest.mark.integration
def test_png_and_svg_with_what_differs_in_the_legend(tmp_path):
    paths = [write_run(tmp_path / f"run{gamma}", gamma=gamma) for gamma in (1e-2, 1e-3)]
    written = plot_runs(paths, tmp_path / "out" / "curves")
    assert [path.name for path in written] == ["curves.png", "curves.svg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curves.png", "curves.svg"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    text = written[1].read_text()
    xml.etree.ElementTree.fromstring(text)
    for words in (
        "gamma=1e-2",
        "gamma=1e-3",
        "binarynet on digits, set bop",
        "top-1 (%)",
        "epoch",
        "validation",
        "training",
    ):
        assert f"<!-- {words} -->" in text
    plot_runs(paths, tmp_path / "out" / "curves")
    assert written[1].read_text() == text  # the same curves make the same file


def test_names_are_drawn_as_they_are(tmp_path):
    """No formulas, no labels that matplotlib hides, no broken XML."""
    path, other = (write_run(tmp_path / name, seed=1) for name in ("_run", "a$b$"))
    (svg,) = plot_runs([path, other], tmp_path / "names.svg")
    assert "<!-- _run -->" in svg.read_text() and "<!-- a$b$ -->" in svg.read_text()
    (svg,) = plot_runs([path, other], tmp_path / "labels.svg", labels=[r"$\frac$", "<&--> \x07"])
    xml.etree.ElementTree.parse(svg)


def test_runs_alike_are_told_apart_by_their_folders(tmp_path):
    paths = [write_run(tmp_path / name / "run", seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    (svg,) = plot_runs(paths, tmp_path / "curves.svg")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert f"seed={seed}" in svg.read_text() and f"{name}/run" in svg.read_text()


def test_columns_share_scales_and_have_legends_of_their_own(tmp_path):
    paths = {str(gamma): write_run(tmp_path / str(gamma), gamma=gamma) for gamma in (1e-2, 1e-3, 1e-4)}
    (svg,) = plot_columns([("left", paths), ("right", {"one": paths["0.01"]})], tmp_path / "figure.svg")
    text = svg.read_text()
    assert all(text.count(f"<!-- {label} -->") >= 1 for label in (*paths, "one", "left", "right"))
    assert text.count("<!-- top-1 (%) -->") == 1


@pytest.mark.integration
def test_legends_cover_no_curve(tmp_path, monkeypatch):
    """With a label that is folded and a curve along each edge of both panels."""
    figures = []
    monkeypatch.setattr("bopkit.runs.plot.write_figure", lambda figure, targets: figures.append(figure))
    for kind in ("a", "b"):
        path = write_run(tmp_path / kind)
        append(path, epoch_row(4, val_top1=1.0, top1=0.0))
        append(path, epoch_row(5, val_top1=0.0, top1=1.0))
    runs = {"one": tmp_path / "a", "a label that is folded " * 5: tmp_path / "b"}
    plot_columns([("left " * 12, runs), ("right", runs)], tmp_path / "figure.svg")
    (figure,) = figures
    figure.draw_without_rendering()
    panels = [axes.get_tightbbox() for axes in figure.axes]
    legends = [legend.get_window_extent() for legend in figure.legends]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["validation", "training"]
    assert not any(legend.overlaps(panel) for legend in legends for panel in panels)
    below = [axes.get_legend().get_window_extent() for axes in figure.axes if axes.get_legend()]
    assert len(below) == 2
    assert not any(legend.overlaps(axes.get_window_extent()) for legend in below for axes in figure.axes)


def test_one_format_that_fails_leaves_the_old_files(tmp_path, monkeypatch):
    path = write_run(tmp_path / "run")
    (tmp_path / "curves.png").write_text("old")
    save = Figure.savefig

    def fail(figure, target, **options):
        if target.suffix == ".svg":
            raise OSError(28, "No space left on device")
        save(figure, target, **options)

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError):
        plot_runs([path], tmp_path / "curves")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["curves.png", "run"]
    assert (tmp_path / "curves.png").read_text() == "old"


def test_what_cannot_be_drawn_is_one_error_that_names_the_run(tmp_path):
    whole, fresh = write_run(tmp_path / "whole"), write_run(tmp_path / "fresh", done=0)
    stepless = write_run(tmp_path / "stepless", every=1000)
    damaged = write_run(tmp_path / "damaged")
    append(damaged, {"kind": "step", "step": 1000, "epoch": 9, "layers": {"dense": {}}})
    for path, words, kind in (
        (tmp_path / "nothing", "is not a run directory", UsageError),
        (fresh, "fresh has no finished epoch", BopkitError),
        (stepless, "stepless has no step", BopkitError),
        (damaged, "damaged is damaged", BopkitError),
    ):
        with pytest.raises(kind, match=words):
            plot_runs([whole, path], tmp_path / "curves")
    for options, words in (
        ({"output": tmp_path / "curves.jpg"}, "ends in .jpg.*png, .svg, .pdf"),
        ({"layer": "dens"}, "no binary layer 'dens'.*conv, dense"),
        ({"labels": ["a", "b"]}, "2 labels cannot name 1 run"),
    ):
        with pytest.raises(UsageError, match=words):
            plot_runs([whole], **{"output": tmp_path / "curves", **options})
    with pytest.raises(UsageError, match="No run was named"):
        plot_runs([])
    assert not list(tmp_path.glob("curves*"))


@pytest.mark.integration
def test_neither_pyplot_nor_global_settings_are_touched(tmp_path):
    path = write_run(tmp_path / "run")
    code = f"""
import sys, bopkit.runs.plot
assert "matplotlib" not in sys.modules and "tensorflow" not in sys.modules
import matplotlib
def settings():  # asking for the backend would import pyplot
    return {{name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}}
before = settings()
bopkit.runs.plot.plot_runs([{str(path)!r}], {str(tmp_path / "curves.svg")!r})
assert settings() == before and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
