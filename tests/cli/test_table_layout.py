"""What a terminal shows of a table: no word and no number is ever broken, and what has no room is named."""

import itertools

import pytest

from bopkit.cli.table_layout import INDENT, common_folder, lay_out, row_lines, shortened, wrapped

HEADINGS = ["run", "state", "best top-1", "loss", "images/s", "started", "problem"]
ROWS = [
    ["runs/digits/first", "finished", "34.07 %", "2.1996", "1,629", "2026-11-30 08:26", ""],
    [
        "runs/digits/second",
        "stopped",
        "8.67 %",
        "2.7640",
        "317",
        "2026-11-30 08:27",
        "line 3 of metrics.jsonl is damaged",
    ],
]
TEXT = ["problem"]
IMPORTANT = ["state", "best top-1", "started"]


def shown(layout):
    """The lines that are printed of a layout."""
    is_right = [2 <= place <= 4 for place in layout.places]
    rows = (row_lines(row, layout.widths, is_right) for row in layout.rows)
    return [*row_lines(layout.heading, layout.widths, is_right, at_bottom=True), *itertools.chain(*rows)]


@pytest.mark.parametrize("width", range(24, 201))
def test_every_width_shows_whole_words_that_fit_and_names_the_rest(width):
    layout = lay_out(HEADINGS, ROWS, width, TEXT, IMPORTANT)
    lines = shown(layout)
    assert max(map(len, lines)) <= width
    numbers = {value for row in ROWS for value in row[1:6]}
    for row in layout.rows:
        assert set(row.cells[1:]) - {"", ROWS[1][6]} <= numbers | {row.cells[-1]}
    words = {word for line in lines for word in line.split()}
    beside = [HEADINGS[place] for place in layout.places]
    for heading, *cells in zip(HEADINGS, *ROWS, strict=True):
        if heading in beside[1:] or heading == "problem":
            assert words >= {*heading.split(), *(word for cell in cells for word in cell.split())}, heading
    assert set(HEADINGS) == {*beside, *layout.dropped, "problem"}
    assert layout.dropped == () or layout.whole_width > width
    assert not lay_out(HEADINGS, ROWS, max(width, layout.whole_width), TEXT, IMPORTANT).dropped


def test_the_most_important_columns_stay():
    layout = lay_out(HEADINGS, ROWS, 34, TEXT, IMPORTANT)
    assert [HEADINGS[place] for place in layout.places] == ["run", "state", "best top-1", "loss"]
    assert layout.dropped == ("images/s", "started")
    assert layout.prefix == "runs/digits/" and [row.cells[0] for row in layout.rows] == ["first", "second"]
    assert layout.heading.cells[2] == "best\ntop-1"
    assert [row.below for row in layout.rows] == [(), (f"{INDENT}line 3 of metrics.jsonl is", f"{INDENT}damaged")]


def test_numbers_end_and_headings_stand_below_one_another():
    layout = lay_out(HEADINGS[:3], [row[:3] for row in ROWS], 26)
    assert shown(layout) == [
        "                      best",
        "run     state        top-1",
        "first   finished   34.07 %",
        "second  stopped     8.67 %",
    ]


def test_a_file_gets_all_in_one_line_a_row():
    layout = lay_out(HEADINGS, ROWS, None, TEXT, IMPORTANT)
    assert [list(row.cells) for row in layout.rows] == ROWS and layout.is_whole and layout.prefix == ""


def test_long_names_lose_their_middle_as_long_as_they_differ():
    rows = [[f"model/block{number}/batch_norm/FusedBatchNormV3", "352 B"] for number in (1, 2)]
    layout = lay_out(["layer", "size"], rows, 30)
    assert layout.is_shortened and [row.cells[0] for row in layout.rows] == [
        "block1/batc…BatchNormV3",
        "block2/batc…BatchNormV3",
    ]
    rows = [[f"a{'x' * 20}{number}{'x' * 20}b", "352 B"] for number in (1, 2)]
    layout = lay_out(["layer", "size"], rows, 45)  # half of it would make them equal
    assert [row.cells[0] for row in layout.rows] == [row[0] for row in rows] and layout.dropped == ("size",)


def test_text_is_broken_between_words_only():
    text = "in 1.50 s with 10.5 MB, 91.3 % (cifar10), <= 1000000: `bopkit data list --json`, then some-long-word"
    for width in range(1, 120):
        lines = wrapped(text, width)
        assert " ".join(lines) == text
        for unbroken in ("1.50 s", "10.5 MB", "91.3 %", "<= 1000000", "`bopkit data list --json`", "some-long-word"):
            assert sum(unbroken in line for line in lines) == 1, (width, unbroken)
        assert max(map(len, lines)) <= max(width, len("`bopkit data list --json`,"))
    assert wrapped("  a table  of two", 12) == ["  a table", "  of two"]
    assert wrapped("", 10) == [""]


def test_wide_letters_count_twice():
    assert wrapped("模型 模型", 6) == ["模型", "模型"]
    assert lay_out(["n"], [["模型"]], None).widths == (4,)


def test_folders_that_names_share():
    assert common_folder(["runs/a", "runs/b"]) == "runs/"
    assert common_folder(["runs/a", "runs/a"]) == common_folder(["run1", "run2"]) == common_folder([]) == ""
    assert common_folder(["/a", "/b"]) == ""


def test_shortened_names_have_the_width():
    assert shortened("abcdefgh", 5) == "ab…gh" and shortened("abcdefgh", 8) == "abcdefgh" and shortened("ab", 1) == "…"
    assert shortened("模型模型模型", 9) == "模型…模型"
