"""Result files, merging, comparison with a baseline, rules, and the tables that are made of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from written_results import BOARD, SERVER, device_report, failed_row, make_report, make_row

from bopkit import files
from bopkit.benchmark import BenchmarkReport, BenchmarkRow
from bopkit.benchmark.job import Timing
from bopkit.benchmark.reports import build_report, compare_lines, csv_table, markdown, merge_reports, read_reports
from bopkit.benchmark.reports.choices import choose
from bopkit.benchmark.reports.csv_table import csv_columns
from bopkit.benchmark.reports.gains import gain_text
from bopkit.benchmark.reports.markdown import code
from bopkit.benchmark.reports.noise import median_ratio_interval
from bopkit.benchmark.reports.rules import parse_rule, rule_fields
from bopkit.benchmark.reports.schema import attribute_texts, json_schema
from bopkit.benchmark.results import Protocol
from bopkit.benchmark.row_notes import trained_on_note
from bopkit.errors import BopkitError, UsageError

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "benchmark.schema.json"
HOSTILE = "=1+1|<script>alert('`@all')</script>\x1b[2J\n\u202e.tflite"


def write(path: Path, report: BenchmarkReport) -> Path:
    files.write_json(path, report.to_dict())
    return path


# Result files.


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = device_report()
    assert read_reports(write(tmp_path / "a.json", report)) == (report,)
    assert TypeAdapter(BenchmarkReport).validate_json(json.dumps(report.to_dict())) == report


def test_what_is_no_number_is_never_written() -> None:
    row = make_row("a.tflite", loss=math.nan, load_ms=math.inf, top1_interval=(0.1, math.nan), samples_ms=[1.0, 2.0])
    text = files.json_text(make_report(row).to_dict())
    assert "NaN" not in text and "Infinity" not in text
    (read,) = json.loads(text)["rows"]
    assert (read["loss"], read["load_ms"], read["top1_interval"]) == (None, None, [0.1, None])
    assert json.loads(json.dumps(make_report(row).to_dict(), allow_nan=False))


def test_the_committed_schema_is_that_of_the_dataclasses() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema(), "run `make docs`"


def test_the_schema_says_what_every_figure_is() -> None:
    schema = json_schema()
    tables = {"BenchmarkReport": schema, **schema["$defs"]}
    for name, table in tables.items():
        for key, value in table["properties"].items():
            assert value.get("description"), f"{name}.{key} has no line in its docstring"
    assert set(attribute_texts(BenchmarkRow)) == {field.name for field in dataclasses.fields(BenchmarkRow)}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: "", "is not JSON"),
        (lambda text: "artifact,device\n", "is not JSON"),
        (lambda text: text[: len(text) // 2], "is cut off"),
        (lambda text: text[:-3], "is cut off"),
        (lambda text: "[]", "is not the result"),
        (lambda text: '{"rows": []}', "is not the result"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema 2, and this bopkit reads 1"),
        (lambda text: text.replace('"latency_ms_p50": ', '"latency_ms_p50": "x", "y": ', 1), "latency_ms_p50"),
        (lambda text: text.replace('"runs": 200', '"runs": NaN', 1), "NaN"),
        (lambda text: text.replace('"runs": 200', '"runs": 1e400', 1), "too large for any figure"),
        (lambda text: text.replace('"runs": 200', f'"runs": {"9" * 30}', 1), "too large for any figure"),
        (lambda text: text.replace('"threads": 1', '"threads": true', 1), "threads"),
        (lambda text: text.replace("2026-11-20T10", "yesterday", 1), "has no date"),
        (lambda text: "[" * 100_000, "is nested too deeply|is cut off"),
        (lambda text: text.replace('"runs": 200', f'"runs": {"9" * 5000}', 1), "too large for any figure"),
    ],
)
def test_a_file_that_is_no_result_is_one_line(edit, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", make_report(make_row("a.tflite")))
    text = path.read_text()
    path.write_text(edit(text))
    assert path.read_text() != text
    with pytest.raises(BopkitError, match=message) as caught:
        read_reports(path)
    assert "\n" not in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("data", [b"\x80\x00PNG", "{}".encode("utf-16"), '{"a": "\xe9"}'.encode("latin-1")])
def test_a_file_that_is_no_text_is_no_codec_error(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(BopkitError) as caught:
        read_reports(tmp_path / "a.json")
    assert caught.value.message == f"{tmp_path / 'a.json'} is not the result of a benchmark: it is not UTF-8 text."
    assert "bopkit benchmark --json" in caught.value.hint


def test_a_mark_at_the_start_of_a_file_is_no_obstacle(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", make_report(make_row("a.tflite")))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_reports(path)) == 1


def test_figures_of_a_later_version_are_no_obstacle(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", make_report(make_row("a.tflite")))
    values = json.loads(path.read_text())
    values["rows"][0]["joules"] = 3.0
    path.write_text(json.dumps({**values, "energy": "measured"}))
    assert len(read_reports(path)[0].rows) == 1


# Merging.


def test_the_newest_stands_in_the_table_and_the_others_are_counted(tmp_path: Path) -> None:
    old = write(
        tmp_path / "mon.json",
        make_report(make_row("a.tflite", 5.0), make_row("b.tflite"), date="2026-11-20T10:00:00+00:00"),
    )
    new = write(tmp_path / "tue.json", make_report(make_row("a.tflite", 4.0), date="2026-11-21T10:00:00+00:00"))
    for order in ([old, new], [new, old], [old, new, old]):
        merged = build_report(order).merged
        first = next(line for line in merged.lines if line.row.artifact == "a.tflite")
        assert first.source == "tue.json" and [each.source for each in first.earlier] == ["mon.json"]
        assert len(merged.lines) == 2 and len(merged.sources) == 2
        assert "2026-11-21` | " in markdown(merged) or "(+1 earlier)" in markdown(merged)


def test_two_machines_with_one_name_are_two_devices() -> None:
    row = make_row("a.tflite")
    merged = merge_reports([("x", make_report(row)), ("y", make_report(row, environments={"local": BOARD}))])
    labels = [line.device_label for line in merged.lines]
    assert labels == ["local (Example CPU 3000, 2 cores)", "local (Cortex-A76, 4 cores)"]


def test_a_merged_report_is_read_again(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", make_report(make_row("a.tflite")))
    second = write(tmp_path / "b.json", make_report(make_row("a.tflite", 6.0), date="2026-11-22T00:00:00"))
    built = build_report([first, second], baseline=first)
    files.write_json(tmp_path / "merged.json", built.to_dict())
    values = json.loads((tmp_path / "merged.json").read_text())
    assert values["entries"][0]["newest"] == {"report": 1, "row": 0}
    assert values["entries"][0]["change"]["latency_ratio"] == pytest.approx(1.2, abs=0.01)
    again = build_report([tmp_path / "merged.json"]).merged
    assert [line.row for line in again.lines] == [line.row for line in built.merged.lines]


def test_rows_on_other_cores_say_on_which() -> None:
    protocol = Protocol((1,), Timing(cpu_mask="3"), date="2026-11-22T00:00:00")
    pinned, free = make_report(make_row("a.tflite"), protocol=protocol), make_report(make_row("a.tflite", 6.0))
    assert " cores " in markdown(merge_reports([("x", pinned), ("y", free)])).splitlines()[0]


@pytest.mark.parametrize(
    ("mask", "cell", "text"),
    [
        ("2", "1", "1 thread on core 1,"),
        ("100", "8", "1 thread on core 8,"),
        ("f0", "4-7", "1 thread on cores 4-7,"),
        ("0xd", "0, 2-3", "1 thread on cores 0, 2-3,"),
        ("none", "mask none", "1 thread with CPU mask none,"),
    ],
)
def test_cores_are_named_by_their_numbers(mask: str, cell: str, text: str) -> None:
    protocol = Protocol((1,), Timing(cpu_mask=mask), date="2026-11-22T00:00:00")
    pinned, free = make_report(make_row("a.tflite"), protocol=protocol), make_report(make_row("a.tflite", 6.0))
    merged = merge_reports([("x", pinned), ("y", free)])
    assert text in markdown(merged)
    column = markdown(merged).splitlines()[0].split(" | ").index("cores")
    assert markdown(merged).splitlines()[2].split(" | ")[column] == f"`{cell}`"


# Accuracy of other measurements of the same file.

FILE, OTHER_FILE = "ab" * 32, "cd" * 32
SUGGESTION = "Add --dataset cifar10 for its accuracy."


def accuracy_and_latency(**figures) -> tuple[BenchmarkReport, BenchmarkReport]:
    """A result with the accuracy of a file, and a newer one of its latency alone, here and on a board."""
    with_accuracy = make_report(
        make_row("ref.h5", kind="keras"),
        make_row("a.tflite", 5.0, 0.93, model_sha256=FILE, top1_agreement=0.98, top1_agreement_interval=(0.97, 0.99)),
    )
    rows = [
        make_row("a.tflite", ms, None, device=device, **{"model_sha256": FILE, "notes": [SUGGESTION], **figures})
        for ms, device in ((4.9, "local"), (35.0, "ssh://pi@board"))
    ]
    places = {"local": SERVER, "ssh://pi@board": BOARD}
    latency = make_report(*rows, date="2026-11-22T00:00:00+00:00", environments=places)
    return with_accuracy, latency


def test_rows_without_accuracy_take_that_of_the_same_file(tmp_path: Path) -> None:
    with_accuracy, latency = accuracy_and_latency()
    first, second = write(tmp_path / "i.json", with_accuracy), write(tmp_path / "dev.json", latency)
    for order in ([first, second], [second, first]):
        built = build_report(order)
        lines = [line for line in built.merged.lines if line.row.artifact == "a.tflite"]
        assert [line.row.device for line in lines] == ["local", "ssh://pi@board"]
        for line in lines:
            assert (line.row.top1, line.row.top1_agreement, line.row.pictures) == (0.93, 0.98, 2000)
            assert line.row.confusion == with_accuracy.rows[1].confusion
            assert line.row.notes == ["Accuracy from i.json (2026-11-20), measured on the same file (same SHA-256)."]
            assert line.pictures[:3] == ("cifar10", "test", 2000)
        assert [line.row.latency_ms_p50 for line in lines] == [row.latency_ms_p50 for row in latency.rows]
    assert latency.rows[0].top1 is None and latency.rows[0].notes == [SUGGESTION], "the result itself was changed"
    table = markdown(built.merged)
    assert table.count("93.00 %") == 2 and "- `a.tflite`: `Accuracy from i.json" in table
    (_, *figures) = [row for row in csv.DictReader(io.StringIO(built.csv())) if row["artifact"] == "a.tflite"]
    assert [(row["source"], row["dataset"], row["top1"]) for row in figures] == [
        ("i.json", "cifar10", "0.93"),
        ("dev.json", "cifar10", "0.93"),
    ]
    assert "from i.json" in figures[1]["notes"]


def test_entries_point_at_rows_as_they_were_measured_and_at_the_accuracy(tmp_path: Path) -> None:
    with_accuracy, latency = accuracy_and_latency()
    built = build_report([write(tmp_path / "i.json", with_accuracy), write(tmp_path / "dev.json", latency)])
    values = built.to_dict()
    assert values["reports"][1]["rows"][1]["top1"] is None and SUGGESTION in values["reports"][1]["rows"][1]["notes"]
    places = [(entry["newest"], entry["accuracy"]) for entry in values["entries"]]
    origin = {"report": 0, "row": 1}
    assert places == [
        ({"report": 0, "row": 0}, None),
        ({"report": 1, "row": 0}, origin),
        ({"report": 1, "row": 1}, origin),
    ]
    files.write_json(tmp_path / "merged.json", values)
    again = build_report([tmp_path / "merged.json"]).merged
    assert [line.row.top1 for line in again.lines] == [0.9, 0.93, 0.93]


def test_the_note_names_rows_only_where_others_have_another_accuracy() -> None:
    with_accuracy, latency = accuracy_and_latency()
    board = [dataclasses.replace(latency.rows[1], threads=each) for each in (1, 4)]
    merged = merge_reports([("i", with_accuracy), ("dev", dataclasses.replace(latency, rows=tuple(board)))])
    assert "- `a.tflite`: `Accuracy from i (" in markdown(merged)
    older = make_report(make_row("a.tflite", 5.0, 0.5, threads=2, model_sha256=FILE), date="2026-11-01T00:00:00+00:00")
    text = markdown(merge_reports([*merged.sources, ("older", older)]))
    where = "on ssh://pi@board, 1 thread; on ssh://pi@board, 4 threads"
    assert f"- `a.tflite {where}`: `Accuracy from i (" in text and "from older" not in text


def test_what_belongs_to_an_accuracy_comes_with_it_and_what_is_of_the_host_does_not() -> None:
    with_accuracy, latency = accuracy_and_latency()
    with_accuracy.rows[1].notes.append(trained_on_note("cifar100"))
    with_accuracy.rows[1].images_per_second = 1000.0
    *_, line = merge_reports([("i", with_accuracy), ("dev", latency)]).lines
    assert line.row.top1 == 0.93 and line.row.images_per_second is None
    assert line.row.notes[0] == "It was trained on cifar100." and len(line.row.notes) == 2


def test_the_accuracy_on_most_pictures_counts() -> None:
    with_accuracy, latency = accuracy_and_latency()
    few = make_row("a.tflite", 5.0, 0.5, model_sha256=FILE, pictures=50)
    quick = make_report(few, date="2026-11-21T00:00:00+00:00")
    lines = merge_reports([("quick", quick), ("i", with_accuracy), ("dev", latency)]).lines
    assert {each.row.top1 for each in lines if each.row.device != "local"} == {0.93}


def test_the_newest_accuracy_counts(tmp_path: Path) -> None:
    with_accuracy, latency = accuracy_and_latency()
    later = make_report(make_row("b.tflite", 5.0, 0.94, model_sha256=FILE), date="2026-11-21T00:00:00+00:00")
    for order in itertools.permutations([("i", with_accuracy), ("later", later), ("dev", latency)]):
        lines = {(each.row.artifact, each.row.device): each for each in merge_reports(order).lines}
        assert lines["a.tflite", "ssh://pi@board"].row.top1 == 0.94
        assert lines["a.tflite", "ssh://pi@board"].row.notes[0].startswith("Accuracy from later (2026-11-21)")


@pytest.mark.parametrize(
    "figures", [{"model_sha256": OTHER_FILE}, {"model_sha256": None}, {"model_sha256": FILE, "error": "It broke."}]
)
def test_no_accuracy_of_another_file_or_for_a_failure(figures: dict) -> None:
    with_accuracy, latency = accuracy_and_latency(**figures)
    if figures["model_sha256"] is None:  # as SavedModel directories: the same path, and anything may be in it
        with_accuracy.rows[1].model_sha256 = None
    lines = merge_reports([("i", with_accuracy), ("dev", latency)]).lines
    assert [each.row.top1 for each in lines if each.row.artifact == "a.tflite"] == [None, None]
    assert all("Accuracy" not in note for each in lines for note in each.row.notes)


def test_rules_look_at_the_accuracy_that_is_taken(tmp_path: Path) -> None:
    with_accuracy, latency = accuracy_and_latency()
    results = [write(tmp_path / "i.json", with_accuracy), write(tmp_path / "dev.json", latency)]
    texts = [str(each) for each in build_report(results, None, ["top1 < 0.94"]).findings]
    assert len(texts) == 3 and "a.tflite on ssh://pi@board" in texts[2] and "is true: 0.93" in texts[2]
    assert not build_report(results, None, ["top1 < 0.9"]).findings
    better = [
        dataclasses.replace(row, top1=0.96 if row.artifact == "a.tflite" else row.top1) for row in with_accuracy.rows
    ]
    before, older = tmp_path / "before.json", tmp_path / "older.json"
    write(older, dataclasses.replace(with_accuracy, rows=tuple(better)))
    files.write_json(before, build_report([older, results[1]]).to_dict())
    built = build_report(results, before, ["top1 < baseline - 0.005"])
    assert [each.problem for each in built.findings] == [None, None]
    changes = [line.change for line in built.merged.lines]
    assert [round(each.top1_difference, 3) for each in changes] == [0, -0.03, -0.03]  # type: ignore[union-attr, arg-type]
    # A baseline of other pictures: the dataset of the accuracy counts; the result with the latency has none.
    write(older, dataclasses.replace(with_accuracy, rows=tuple(better), split="train"))
    files.write_json(before, build_report([older, results[1]]).to_dict())
    problems = [each.problem for each in build_report(results, before, ["top1 < baseline - 0.005"]).findings]
    assert problems == ["the baseline was measured on other pictures"] * 3


def test_accuracies_of_two_datasets_are_told_apart() -> None:
    with_accuracy, latency = accuracy_and_latency()
    digits = make_report(
        make_row("d.tflite", 3.0, 0.99, model_sha256=OTHER_FILE), dataset="digits", date="2026-11-23T00:00:00+00:00"
    )
    merged = merge_reports([("i", with_accuracy), ("dev", latency), ("d", digits)])
    table, accuracy = (part for part in markdown(merged).split("\n\n") if part.startswith("| artifact"))
    assert "| accuracy on | top-1 |" in table.splitlines()[0] and accuracy.startswith("| artifact | accuracy on |")
    for part in (table, accuracy):
        assert "`digits test, 2000 pictures`" in part and "`cifar10 test, 2000 pictures`" in part
    groups = choose(merged.lines)
    here = {pictures: len(members) for (device, pictures), members in groups.items() if device == "local"}
    assert here == {"cifar10 test, 2000 pictures": 2, "digits test, 2000 pictures": 1}
    assert "accuracy on" not in markdown(merge_reports([("i", with_accuracy), ("dev", latency)])).splitlines()[0]


# Comparison.


def baseline_of(*rows: BenchmarkRow, **facts) -> tuple:
    return merge_reports([("old", make_report(*rows, **facts))]).lines


def test_rows_find_their_baseline_by_path_then_name_then_contents() -> None:
    rows = [
        make_row("new/a.tflite"),
        make_row("same.tflite", threads=4),
        make_row("renamed.tflite", model_sha256="ab"),
        make_row("third.tflite", architecture="xnornet"),
        make_row("b.tflite", runtime="LCE"),
    ]
    old = [
        make_row("old/a.tflite", 1.0),
        make_row("same.tflite", 2.0, threads=1),
        make_row("before.tflite", 3.0, model_sha256="ab"),
        make_row("4th.tflite", 4.0, architecture="xnornet"),
        make_row("b.tflite", 5.0),
    ]
    changes = compare_lines(baseline_of(*rows), baseline_of(*old))
    matched = [change and change.baseline.row.artifact for change in changes]
    assert matched == ["old/a.tflite", None, "before.tflite", "4th.tflite", None]


def test_an_ambiguous_baseline_is_none() -> None:
    old = baseline_of(make_row("x/a.tflite"), make_row("y/a.tflite"))
    assert compare_lines(baseline_of(make_row("a.tflite")), old) == [None]


def test_noise_is_told_from_change() -> None:
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(40):  # the interval holds the true ratio in about 95 % of the cases
        first, same = (5 + 0.2 * rng.standard_normal(200) for _ in range(2))
        low, high = median_ratio_interval(first, same)  # type: ignore[misc, arg-type]
        assert 0.95 < low < high < 1.05
        missed += not low <= 1 <= high
    assert missed <= 5
    low, high = median_ratio_interval(1.05 * first, same)  # type: ignore[misc, arg-type]
    assert 1.02 < low < 1.05 < high < 1.08
    assert median_ratio_interval([1.0] * 4, [1.0] * 50) is None
    # Slow waves carry over from run to run: as if each had been measured alone, the interval would be far too narrow.
    wave = 5 + 0.5 * np.sin(np.arange(400) / 60)
    shuffled = rng.permutation(wave)
    widths = [high - low for low, high in (median_ratio_interval(each, [5.0] * 50) for each in (wave, shuffled))]  # type: ignore[misc, arg-type]
    assert widths[0] > 2 * widths[1]


def test_repeats_that_differ_make_a_change_noise() -> None:
    days = [make_report(make_row("a.tflite", ms), date=f"2026-11-{day}T00:00:00") for day, ms in ((20, 5.0), (21, 5.5))]
    new = baseline_of(make_row("a.tflite", 5.25, seed=2), date="2026-11-22T00:00:00")
    (once,) = compare_lines(new, merge_reports([("", days[0])]).lines)
    (twice,) = compare_lines(new, merge_reports([("", each) for each in days]).lines)
    assert once is not None and once.is_beyond_noise and "no row was measured twice" in once.noise_text
    assert twice is not None and not twice.is_beyond_noise and "repeats differ by 10.0 %" in twice.noise_text


# Rules.


@pytest.mark.parametrize(
    ("text", "value", "baseline", "holds"),
    [
        ("latency_ms_p50 > 1.05x", 5.26, 5.0, True),
        ("latency_ms_p50 > 1.05x", 5.24, 5.0, False),
        ("top1 < 0.90", 0.899, None, True),
        ("top1<0.90", 0.9, None, False),
        ("size_bytes > 1.0x", 101, 100, True),
        ("size_bytes > 1x", 100, 100, False),
        ("size_bytes >= baseline", 100, 100, True),
        ("top1 < baseline - 0.005", 0.894, 0.9, True),
        ("top1 < baseline - 0.005", 0.896, 0.9, False),
        ("latency_ms_p99 > baseline + 2", 7.1, 5.0, True),
        ("loss <= 1e-3", 0.001, None, True),
        ("temperature_c_after > 80", 81.0, None, True),
    ],
)
def test_rules_hold_beyond_their_limit(text: str, value: float, baseline: float | None, holds: bool) -> None:
    rule = parse_rule(text)
    assert rule.holds(value, baseline) is holds and rule.needs_baseline is (baseline is not None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency_ms_p5 > 1.05x", "Did you mean latency_ms_p50"),
        ("artifact > 1", "no figure 'artifact'"),
        ("samples_ms > 1", "no figure"),
        ("is_throttled > 0", "no figure"),
        ("top1", "is not a rule"),
        ("top1 = 0.9", "is not a rule"),
        ("top1 < 0.9y", "is not a rule"),
        ("top1 < nan", "is not a rule"),
        ("top1 < baseline * 2", "is not a rule"),
        ("size_bytes > 0x", "factor above 0"),
        ("top1 < baseline - 1e999", "no figure reaches"),
        ("", "is not a rule"),
    ],
)
def test_what_is_no_rule_is_a_usage_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_rule(text)


def test_every_number_of_a_row_can_be_ruled() -> None:
    assert {"latency_ms_p50", "size_bytes", "top1", "calibration_error", "temperature_c_after"} <= set(rule_fields())
    assert not {"artifact", "is_throttled", "input_shape", "top1_interval", "samples_ms"} & set(rule_fields())


def test_a_rule_finds_regressions_and_what_it_cannot_check(tmp_path: Path) -> None:
    old = write(
        tmp_path / "old.json", make_report(make_row("a.tflite", 5.0), make_row("b.tflite"), make_row("gone.tflite"))
    )
    rows = [
        make_row("a.tflite", 6.0),
        make_row("b.tflite"),
        make_row("c.tflite", architecture=""),
        failed_row("d.tflite"),
    ]
    new = write(tmp_path / "new.json", make_report(*rows, date="2026-11-22T00:00:00"))
    built = build_report([new], old, ["latency_ms_p50 > 1.05x"])
    texts = [str(each) for each in built.findings]
    assert len(texts) == 4, texts
    assert "a.tflite on local, 1 thread: `latency_ms_p50 > 1.05x` is true: 6" in texts[0]
    assert "baseline 5" in texts[0] and "limit 5.2" in texts[0] and "beyond the noise" in texts[0]
    assert "the baseline has no such row" in texts[1] and "the row failed" in texts[2]
    assert "gone.tflite" in texts[3] and "the baseline has this row, these results do not" in texts[3]
    assert any("gone.tflite on local: in the baseline only" in text for text in built.texts)
    with pytest.raises(UsageError, match="needs a baseline"):
        build_report([new], None, ["latency_ms_p50 > 1.05x"])


def test_accuracy_on_other_pictures_is_not_compared(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", make_report(make_row("a.tflite", top1=0.6, pictures=100)))
    new = write(tmp_path / "new.json", make_report(make_row("a.tflite", top1=0.9)))
    (finding,) = build_report([new], old, ["top1 < baseline - 0.005"]).findings
    assert "measured on other pictures" in str(finding)
    assert build_report([new], old).merged.lines[0].change.top1_difference is None  # type: ignore[union-attr]


def test_runs_on_other_cores_are_no_repeats() -> None:
    first, second = make_report(make_row("a.tflite")), make_report(make_row("a.tflite", 9.0))
    for mask, count in (("f0", 2), (None, 1)):
        timing = dataclasses.replace(second.protocol.timing, cpu_mask=mask)
        other = dataclasses.replace(second, protocol=dataclasses.replace(second.protocol, timing=timing))
        assert len(merge_reports([("", first), ("", other)]).lines) == count


def test_a_result_without_rows_passes_no_gate(tmp_path: Path) -> None:
    with pytest.raises(BopkitError, match="contain no rows"):
        build_report([write(tmp_path / "empty.json", dataclasses.replace(make_report(make_row("a")), rows=()))])


def test_times_of_another_machine_are_not_compared(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", make_report(make_row("a.tflite", 5.0), environments={"local": BOARD}))
    new = write(tmp_path / "new.json", make_report(make_row("a.tflite", 5.0, size_bytes=9_000_000)))
    built = build_report([new], old, ["latency_ms_p50 > 1.05x", "size_bytes > 1x"])
    assert [each.problem for each in built.findings] == ["the baseline was measured on another machine", None]
    (line,) = built.merged.lines
    assert line.change is not None and line.change.latency_ratio is None


# Choices.


def test_the_front_of_each_device_and_who_beats_the_rest() -> None:
    choices = choose(merge_reports([("", device_report())]).lines)
    server = {choice.line.number: choice for choice in choices["local", "cifar10 test, 2000 pictures"]}
    assert [number for number, choice in server.items() if choice.beaten_by is None] == [1, 2]
    assert [server[number].beaten_by.number for number in (3, 4)] == [1, 2]  # type: ignore[union-attr]
    assert "2.60 points more for 7.4" in server[2].reason and server[1].reason == "the fastest"
    assert len(choices) == 2


def test_an_accuracy_within_the_interval_is_said_to_be() -> None:
    rows = [make_row("fast.tflite", 1.0, 0.9), make_row("slow.tflite", 2.0, 0.905)]
    (members,) = choose(merge_reports([("", make_report(*rows))]).lines).values()
    assert "within the 95 % interval" in members[1].reason


def choices_by_size(*rows: BenchmarkRow):
    (members,) = choose(merge_reports([("", make_report(*rows))]).lines).values()
    return members


def test_equal_rows_are_ties_wherever_they_stand() -> None:
    rows = [
        make_row(name, ms, top1, latency_ms_p50=ms, samples_ms=[])
        for name, ms, top1 in (("a", 1.0, 0.8), ("b", 1.0, 0.8), ("c", 2.0, 0.9), ("d", 2.0, 0.9), ("e", 3.0, 0.7))
    ]
    (members,) = choose(merge_reports([("", make_report(*rows))]).lines).values()
    assert [choice.reason for choice in members] == [
        "the fastest; a tie with 2",
        "the fastest; a tie with 1",
        "the most accurate, 10.00 points more for 2.00 x the time of 2; a tie with 4",
        "the most accurate, 10.00 points more for 2.00 x the time of 2; a tie with 3",
        "1.50 x as fast and 20.00 points more accurate",
    ]
    assert [choice.beaten_by is None for choice in members] == [True, True, True, True, False]


def test_what_differs_by_less_than_is_shown_is_a_tie() -> None:
    rows = [
        make_row(name, ms, 0.8, latency_ms_p50=ms, samples_ms=[])
        for name, ms in (("a", 1.0), ("b", 1.0004), ("c", 1.01))
    ]
    (members,) = choose(merge_reports([("", make_report(*rows))]).lines).values()
    assert [(choice.is_tie, choice.reason) for choice in members] == [
        (False, "the fastest and the most accurate"),
        (True, "as fast and as accurate"),
        (False, "1.01 x as fast and as accurate"),
    ]
    sizes = [
        make_row(name, ms, None, size, latency_ms_p50=ms, samples_ms=[])
        for name, ms, size in (("a", 1.0, 4_200_000), ("b", 1.0004, 4_200_100), ("c", 1.0004, 4_300_000))
    ]
    assert [(choice.is_tie, choice.reason) for choice in choices_by_size(*sizes)[1:]] == [
        (True, "as fast and of nearly the same size"),
        (False, "as fast and 4.20 MB instead of 4.30 MB"),
    ]


def test_gains_of_nothing_are_ties() -> None:
    assert [gain_text(ratio) for ratio in (None, 0.994, 0.996, 1.0, 1.0049, 1.006, 30.0)] == [
        "-",
        "0.99 x",
        "tie",
        "tie",
        "tie",
        "1.01 x",
        "30.00 x",
    ]


def test_what_is_as_fast_within_the_noise_is_said_to_be() -> None:
    rows = [make_row("a.tflite", 0.121, None, seed=1), make_row("b.tflite", 0.1211, None, seed=2)]
    front, tie = choices_by_size(*rows)
    assert front.beaten_by is None and tie.beaten_by == front.line and tie.is_tie
    assert tie.reason == "as fast within the noise and of the same size"
    # 1 % is beyond the noise of runs that scatter less than that.
    steady = [0.1 + 0.0001 * (index % 3) for index in range(200)]
    slower = [1.01 * each for each in steady]
    rows = [
        make_row(f"{p50}", p50, None, latency_ms_p50=p50, samples_ms=each)
        for p50, each in ((0.1, steady), (0.101, slower))
    ]
    _, beaten = choices_by_size(*rows)
    assert beaten.reason == "1.01 x as fast and of the same size" and not beaten.is_tie
    rows = [
        make_row("a", 1.0, None, 4_200_000),
        make_row("b", 1.5, None, 4_200_100),
        make_row("c", 1.6, None, 5_000_000),
    ]
    reasons = [each.reason for each in choices_by_size(*rows)]
    assert reasons[1].endswith("x as fast and of nearly the same size")
    assert reasons[2].endswith("x as fast and 4.20 MB instead of 5.00 MB")


def test_noise_and_accuracy_are_both_judged() -> None:
    noisy = [make_row("a", 1.0, 0.9, seed=1), make_row("b", 1.001, 0.905, seed=2), make_row("c", 1.002, 0.7, seed=3)]
    noisy[2] = dataclasses.replace(noisy[2], latency_ms_p50=1.1 * noisy[1].latency_ms_p50)  # type: ignore[operator]
    members = {
        each.line.row.artifact: each
        for each in choose(merge_reports([("", make_report(*noisy))]).lines)["local", "cifar10 test, 2000 pictures"]
    }
    assert "of 1 (within the noise) (within the 95 % interval)" in members["b"].reason
    assert not members["c"].is_tie and "20.50 points more accurate" in members["c"].reason
    assert "within the 95 %" not in members["c"].reason


# Tables.


def test_notes_are_said_once_and_of_which_row() -> None:
    shared, own = "It was trained on other pictures.", "The last quarter of the runs took 1.75 times as long."
    rows = [
        make_row("a.tflite", threads=1, notes=[shared]),
        make_row("a.tflite", threads=4, notes=[own, shared]),
        make_row("a.tflite", device="ssh://pi@board", notes=[own, shared]),
        make_row("b.tflite", notes=[own]),
        failed_row("c.tflite", device="ssh://pi@board"),
    ]
    report = make_report(*rows, environments={"local": SERVER, "ssh://pi@board": BOARD})
    merged = merge_reports([("", report)])
    text = markdown(merged)
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- `c.tflite on ssh://pi@board`: `It is not a complete TensorFlow Lite model.`",
        f"- `a.tflite`: `{shared}`",
        f"- `a.tflite on local, 4 threads; on ssh://pi@board`: `{own}`",
        f"- `b.tflite`: `{own}`",
    ]
    assert [row["notes"] for row in csv.DictReader(io.StringIO(csv_table(merged)))] == [
        shared,
        f"{own} {shared}",
        own,
        f"{own} {shared}",
        "",
    ]
    columns = csv_columns()
    of_row = ["date", "source", "cpu", "dataset", "split", "earlier_measurements", "cpu_mask", "notes"]
    begin = columns.index("date")
    assert columns[begin : begin + len(of_row)] == of_row  # new ones come last


def test_markdown_has_the_accuracies_with_their_intervals() -> None:
    row = make_row("a.tflite", loss=0.25, calibration_error=0.0123, images_per_second=1234.5)
    merged = merge_reports([("", make_report(row, make_row("a.tflite", 3.0, threads=2), failed_row("b")))])
    *_, table, conditions = markdown(merged).split("\n\n")
    heading, _, line, *others = table.splitlines()
    assert heading == "| artifact | top-1, 95 % | loss | calibration error | pictures/s |"  # what is known of any
    assert line == "| `a.tflite` | 88.70 to 91.20 % | 0.2500 | 1.23 % | 1,234 |"
    assert len(others) == 1 and "accuracy on 2000 pictures" in conditions
    assert "top-1" not in markdown(merge_reports([("", make_report(make_row("a", top1=None)))]))


def test_agreement_is_explained_where_there_is_some() -> None:
    alone = make_report(make_row("a.tflite"))
    assert "agreement:" not in markdown(merge_reports([("", alone)]))
    both = make_report(make_row("a.tflite"), make_row("b.tflite", top1_agreement=0.9))
    assert "agreement: same top-1 as a.tflite" in markdown(merge_reports([("", both)]))


def test_csv_figures_have_no_noise_digits_and_whole_numbers_all_of_theirs() -> None:
    row = make_row("a", latency_ms_p50=1.3680033499999988, load_ms=123456789012.0, size_bytes=12345678901234567)
    (read,) = csv.DictReader(io.StringIO(csv_table(merge_reports([("", make_report(row))]))))
    assert (read["latency_ms_p50"], read["load_ms"]) == ("1.36800335", "123456789012")
    assert (read["size_bytes"], read["top1_low"], read["top1"]) == ("12345678901234567", "0.887", "0.9")


def test_csv_has_every_figure_in_a_stable_order_and_no_formula() -> None:
    rows = [make_row(HOSTILE), make_row("-2.tflite", notes=["a"]), failed_row("@x")]
    text = csv_table(merge_reports([("=evil.json", make_report(*rows))]))
    assert text.count("\r\n") == 4 and "\n" not in text.replace("\r\n", "")
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(read[0]) == csv_columns() and csv_columns()[:2] == ["artifact", "device"]
    assert [row["artifact"][:2] for row in read] == ["'=", "'-", "'@"] and read[0]["source"] == "'=evil.json"
    assert read[0]["latency_ms_p50"] == f"{rows[0].latency_ms_p50:.9g}" and read[2]["latency_ms_p50"] == ""
    assert float(read[0]["top1_low"]) == pytest.approx(0.887) and read[0]["input_shape"] == "32x32x3"
    fields = {field.name for field in dataclasses.fields(BenchmarkRow)}
    many = {"settings", "samples_ms", "class_top1", "confusion", "steps", "layers"}
    assert {name for name in fields - set(csv_columns()) if not name.endswith("_interval")} >= many


def test_markdown_shows_a_strangers_text_as_text() -> None:
    text = markdown(merge_reports([("", make_report(make_row(HOSTILE), make_row("b.tflite")))]))
    heading, rule, first, *_ = text.splitlines()
    cells = first.replace("\\|", "").split("|")
    assert len(cells) == len(heading.split("|")) == len(rule.split("|"))
    assert first.startswith("| `` =1+1\\|<script>alert('`@all')</script>\\x1b[2J\\n\\u202e.tflite `` |")


def test_code_is_fenced_by_more_ticks_than_it_holds() -> None:
    assert code("a") == "`a`" and code("a``b`") == "``` a``b` ```"
