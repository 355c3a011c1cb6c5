"""What a person sees of a run: the time that is left has room on every terminal, the bar on wide ones."""

import re

import pytest
from terminal import in_terminal

from bopkit.training.display import LINE_EVERY_S, TrainingDisplay, live_line

PARTS = [
    "epoch 12/500",
    "eta 3:12:33",
    "step 123/1000",
    "loss 2.1996",
    "top-1 24.50%",
    "1,629 images/s",
    "flips 1.74e-04",
]


@pytest.mark.parametrize(
    ("width", "shown", "bar"), [(30, 2, 0), (60, 4, 0), (80, 5, 0), (101, 7, 0), (120, 7, 19), (200, 7, 40)]
)
def test_a_line_keeps_what_matters_most(width, shown, bar):
    line = live_line(PARTS, 0.5, width)
    assert line.rstrip("━─").rstrip() == "  ".join(PARTS[:shown])
    assert len(line) <= width and line.count("━") == round(bar / 2) and len(line) - len(line.rstrip("━─")) == bar


PROGRAM = """
import sys
from bopkit.training import display

display.BAR_EVERY_S = 0
shown = display.TrainingDisplay(500, 1000, 50, 11_000, print, bar=True)
shown.show_step(11, 123, {"loss": 2.19961, "top1": 0.245}, 1.74e-4)
row = {"epoch": 12, "loss": 2.1, "top1": 0.25, "val_top1": 0.34, "flip_ratio": 1e-4, "images_per_second": 629}
shown.print_epoch(row)
shown.stop()
"""


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_a_terminal_shows_the_eta(columns):
    text = "\n".join(in_terminal(columns, program=PROGRAM, kind="xterm"))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", text).splitlines()
    assert max(map(len, lines)) <= columns
    (live,) = {line for line in lines if "step 123/1000" in line}
    assert re.match(r"epoch 12/500  eta \d+.*:\d\d:\d\d  step 123/1000  loss 2.1996", live)
    assert ("━" in live or "─" in live) == (columns == 160)
    row = " ".join(" ".join(lines).split())
    assert "epoch 12/500 loss 2.1000 top-1 25.00% validation top-1 34.00% flip ratio 1.00e-04 629 images/s" in row


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    said = []
    clock = iter([0.0, 1.0, LINE_EVERY_S + 1])
    monkeypatch.setattr("bopkit.training.display.time.perf_counter", lambda: next(clock))
    display = TrainingDisplay(2, 10, 50, 0, said.append, bar=False)
    for step in (1, 2):
        display.show_step(0, step, {"loss": 2.0, "top1": 0.5}, None)
    assert said == ["epoch 1/2  eta 0:04:39  step 2/10  loss 2.0000  top-1 50.00%  3 images/s"]
