"""Result files, merging, comparison with a baseline, rules, and the tables that are made of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from written_results import BOARD, device_report, failed_row, make_report, make_row

from bopkit import files
from bopkit.benchmark import BenchmarkReport, BenchmarkRow
from bopkit.benchmark.job import Timing
from bopkit.benchmark.report import Protocol
from bopkit.benchmark.reports import build_report, compare_entries, csv_table, markdown, merge_reports, read_reports
from bopkit.benchmark.reports.choices import choose
from bopkit.benchmark.reports.comparison import median_ratio_interval
from bopkit.benchmark.reports.csv_table import csv_columns
from bopkit.benchmark.reports.markdown import code
from bopkit.benchmark.reports.rules import parse_rule, rule_fields
from bopkit.benchmark.reports.schema import attribute_texts, json_schema
from bopkit.benchmark.reports.table import lines_of
from bopkit.errors import BopkitError, UsageError

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "benchmark.schema.json"
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
        (lambda text: "", "is no JSON"),
        (lambda text: "artifact,device\n", "is no JSON"),
        (lambda text: text[: len(text) // 2], "is cut off"),
        (lambda text: text[:-3], "is cut off"),
        (lambda text: "[]", "is no result"),
        (lambda text: '{"rows": []}', "is no result"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema 2, and this bopkit reads 1"),
        (lambda text: text.replace('"latency_ms_p50": ', '"latency_ms_p50": "x", "y": ', 1), "latency_ms_p50"),
        (lambda text: text.replace('"runs": 200', '"runs": NaN', 1), "NaN"),
        (lambda text: text.replace('"runs": 200', '"runs": 1e400', 1), "no benchmark measures"),
        (lambda text: text.replace('"runs": 200', f'"runs": {"9" * 30}', 1), "no benchmark measures"),
        (lambda text: text.replace('"threads": 1', '"threads": true', 1), "threads"),
        (lambda text: text.replace("2026-11-20T10", "yesterday", 1), "has no date"),
        (lambda text: "[" * 100_000, "is no JSON|is cut off"),
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
        first = next(entry for entry in merged.entries if entry.row.artifact == "a.tflite")
        assert first.newest.source == "tue.json" and [each.source for each in first.earlier] == ["mon.json"]
        assert len(merged.entries) == 2 and len(merged.sources) == 2
        assert "2026-11-21` | " in markdown(merged) or "(+1 earlier)" in markdown(merged)


def test_two_machines_with_one_name_are_two_devices() -> None:
    row = make_row("a.tflite")
    merged = merge_reports([("x", make_report(row)), ("y", make_report(row, environments={"local": BOARD}))])
    labels = [line.device for line in lines_of(merged)]
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
    assert [entry.row for entry in again.entries] == [entry.row for entry in built.merged.entries]


def test_rows_on_other_cores_say_on_which() -> None:
    protocol = Protocol((1,), Timing(cpu_mask="3"), date="2026-11-22T00:00:00")
    pinned, free = make_report(make_row("a.tflite"), protocol=protocol), make_report(make_row("a.tflite", 6.0))
    assert " cores " in markdown(merge_reports([("x", pinned), ("y", free)])).splitlines()[0]


# Comparison.


def baseline_of(*rows: BenchmarkRow, **facts) -> tuple:
    return merge_reports([("old", make_report(*rows, **facts))]).entries


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
    changes = compare_entries(baseline_of(*rows), baseline_of(*old))
    matched = [change and change.baseline.row.artifact for change in changes]
    assert matched == ["old/a.tflite", None, "before.tflite", "4th.tflite", None]


def test_an_ambiguous_baseline_is_none() -> None:
    old = baseline_of(make_row("x/a.tflite"), make_row("y/a.tflite"))
    assert compare_entries(baseline_of(make_row("a.tflite")), old) == [None]


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
    (once,) = compare_entries(new, merge_reports([("", days[0])]).entries)
    (twice,) = compare_entries(new, merge_reports([("", each) for each in days]).entries)
    assert once is not None and once.is_beyond_noise and "nothing was measured twice" in once.noise_text
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
        ("top1", "is no rule"),
        ("top1 = 0.9", "is no rule"),
        ("top1 < 0.9y", "is no rule"),
        ("top1 < nan", "is no rule"),
        ("top1 < baseline * 2", "is no rule"),
        ("size_bytes > 0x", "factor above 0"),
        ("top1 < baseline - 1e999", "no figure reaches"),
        ("", "is no rule"),
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
    assert "a.tflite on local, 1 thread(s): `latency_ms_p50 > 1.05x` holds: 6" in texts[0]
    assert "baseline 5" in texts[0] and "limit 5.2" in texts[0] and "beyond the noise" in texts[0]
    assert "the baseline has no such row" in texts[1] and "the row failed" in texts[2]
    assert "gone.tflite" in texts[3] and "the baseline has it, these results do not" in texts[3]
    assert any("gone.tflite on local: in the baseline only" in text for text in built.texts)
    with pytest.raises(UsageError, match="needs a baseline"):
        build_report([new], None, ["latency_ms_p50 > 1.05x"])


def test_accuracy_on_other_pictures_is_not_compared(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", make_report(make_row("a.tflite", top1=0.6, pictures=100)))
    new = write(tmp_path / "new.json", make_report(make_row("a.tflite", top1=0.9)))
    (finding,) = build_report([new], old, ["top1 < baseline - 0.005"]).findings
    assert "measured on other pictures" in str(finding)
    assert build_report([new], old).changes[0].top1_difference is None  # type: ignore[index, union-attr]


def test_runs_on_other_cores_are_no_repeats() -> None:
    first, second = make_report(make_row("a.tflite")), make_report(make_row("a.tflite", 9.0))
    for mask, lines in (("f0", 2), (None, 1)):
        timing = dataclasses.replace(second.protocol.timing, cpu_mask=mask)
        other = dataclasses.replace(second, protocol=dataclasses.replace(second.protocol, timing=timing))
        assert len(merge_reports([("", first), ("", other)]).entries) == lines


def test_a_result_without_rows_passes_no_gate(tmp_path: Path) -> None:
    with pytest.raises(BopkitError, match="hold no rows"):
        build_report([write(tmp_path / "empty.json", dataclasses.replace(make_report(make_row("a")), rows=()))])


def test_times_of_another_machine_are_not_compared(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", make_report(make_row("a.tflite", 5.0), environments={"local": BOARD}))
    new = write(tmp_path / "new.json", make_report(make_row("a.tflite", 5.0, size_bytes=9_000_000)))
    built = build_report([new], old, ["latency_ms_p50 > 1.05x", "size_bytes > 1x"])
    assert [each.problem for each in built.findings] == ["the baseline was measured on another machine", None]
    assert built.changes is not None and built.changes[0] is not None and built.changes[0].latency_ratio is None


# Choices.


def test_the_front_of_each_device_and_who_beats_the_rest() -> None:
    choices = choose(lines_of(merge_reports([("", device_report())])))
    server = {choice.number: choice for choice in choices["local", "cifar10 test, 2000 pictures"]}
    assert [number for number, choice in server.items() if choice.beaten_by is None] == [1, 2]
    assert server[3].beaten_by == 1 and server[4].beaten_by == 2
    assert "2.60 points more for 7.4" in server[2].reason and server[1].reason == "the fastest"
    assert len(choices) == 2


def test_an_accuracy_within_the_interval_is_said_to_be() -> None:
    rows = [make_row("fast.tflite", 1.0, 0.9), make_row("slow.tflite", 2.0, 0.905)]
    (members,) = choose(lines_of(merge_reports([("", make_report(*rows))]))).values()
    assert "within the 95 % interval" in members[1].reason


# Tables.


def test_csv_has_every_figure_in_a_stable_order_and_no_formula() -> None:
    rows = [make_row(HOSTILE), make_row("-2.tflite", notes=["a"]), failed_row("@x")]
    text = csv_table(merge_reports([("=evil.json", make_report(*rows))]))
    assert text.count("\r\n") == 4 and "\n" not in text.replace("\r\n", "")
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(read[0]) == csv_columns() and csv_columns()[:2] == ["artifact", "device"]
    assert [row["artifact"][:2] for row in read] == ["'=", "'-", "'@"] and read[0]["source"] == "'=evil.json"
    assert read[0]["latency_ms_p50"] == repr(rows[0].latency_ms_p50) and read[2]["latency_ms_p50"] == ""
    assert float(read[0]["top1_low"]) == pytest.approx(0.887) and read[0]["input_shape"] == "32x32x3"
    fields = {field.name for field in dataclasses.fields(BenchmarkRow)}
    many = {"settings", "notes", "samples_ms", "class_top1", "confusion", "steps", "layers"}
    assert {name for name in fields - set(csv_columns()) if not name.endswith("_interval")} >= many


def test_markdown_shows_a_strangers_text_as_text() -> None:
    text = markdown(merge_reports([("", make_report(make_row(HOSTILE), make_row("b.tflite")))]))
    heading, rule, first, *_ = text.splitlines()
    cells = first.replace("\\|", "").split("|")
    assert len(cells) == len(heading.split("|")) == len(rule.split("|"))
    assert first.startswith("| `` =1+1\\|<script>alert('`@all')</script>\\x1b[2J\\n\\u202e.tflite `` |")


def test_code_is_fenced_by_more_ticks_than_it_holds() -> None:
    assert code("a") == "`a`" and code("a``b`") == "``` a``b` ```"
