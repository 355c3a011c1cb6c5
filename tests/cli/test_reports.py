"""`bopkit report`, the files of `bopkit benchmark`, and `bopkit compare` as a shell runs them."""

import contextlib
import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import ssh_server
from command_line import FORKED_CHILDREN, NO_TENSORFLOW, PROGRAM, bopkit, failed, start_bopkit, succeeded
from typer.testing import CliRunner
from written_results import device_report, failed_row, make_report, make_row

from bopkit.benchmark.reports import merge_reports, read_reports
from bopkit.cli.main import app
from bopkit.cli.reporting import check_targets, say_failures
from bopkit.errors import UsageError
from bopkit.files import write_json
from bopkit.training.initialise import init_model

FILES = {"--html": "page.html", "--markdown": "table.md", "--csv": "figures.csv"}


@pytest.fixture
def results(tmp_path):
    """`old.json` and the slower `new.json` of one network, and `devices.json`."""
    write_json(tmp_path / "old.json", make_report(make_row("a.tflite", 5.0)).to_dict())
    slower = make_report(make_row("a.tflite", 6.0, top1=0.89), date="2026-11-22T00:00:00+00:00")
    write_json(tmp_path / "new.json", slower.to_dict())
    write_json(tmp_path / "devices.json", device_report().to_dict())
    return tmp_path


def report(folder, *arguments):
    """The finished command, run in this process: a new one for each would take most of the time."""
    with contextlib.chdir(folder):
        result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


@pytest.mark.integration
def test_a_table_of_all_devices_and_all_formats(results):
    formats = [each for pair in FILES.items() for each in pair]
    result = bopkit("report", "devices.json", "old.json", *formats, cwd=results, program=NO_TENSORFLOW)
    heading, *rows = succeeded(result).splitlines()[1:]
    assert heading.split()[:4] == ["artifact", "device", "threads", "runtime"]
    assert sum("ssh://pi@board" in row for row in rows) >= 7
    assert "birealnet.h5: failed: It is not a complete TensorFlow Lite model. Export it again." in result.stderr
    assert "<title>Benchmark report</title>" in (results / "page.html").read_text()
    assert (results / "table.md").read_text().startswith("| artifact | device |")
    assert len(list(csv.DictReader(open(results / "figures.csv", newline="")))) == 12


def test_files_that_cannot_be_written_are_refused_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "below_file.html").symlink_to("notes.txt/page.html")
    for target in ("notes.txt/page.html", "notes.txt/a/b/page.html", "below_file.html"):
        with pytest.raises(NotADirectoryError, match="notes.txt"):
            check_targets(False, target)
    with pytest.raises(UsageError, match="Only one of"):
        check_targets(False, "-", "/dev/stdout")
    assert check_targets(False, "new/folder/page.html", "/dev/null") and not check_targets(False, "/dev/stdout")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "below_file.html"}


@pytest.mark.integration
def test_stdout_by_its_other_name_loses_nothing(results):
    for target in ("-", "/dev/stdout"):
        with open(results / "out.csv", "w") as out:
            print("before", file=out, flush=True)
            command = [sys.executable, "-c", PROGRAM, "report", "new.json", "--csv", target]
            subprocess.run(command, cwd=results, stdout=out, check=True)
        first, heading, _ = (results / "out.csv").read_text().splitlines()
        assert first == "before" and heading.startswith("artifact,device")


def test_errors_name_the_artifact_unless_the_device_is_not_there(capsys):
    rows = [failed_row(name, device="ssh://pi@board") for name in ("a.tflite", "a.tflite")]
    rows += [failed_row(name, device="ssh://pi@gone") for name in ("a.tflite", "b.tflite")]
    environments = {"ssh://pi@board": device_report().environments["ssh://pi@board"]}
    say_failures(merge_reports([("", make_report(*rows, environments=environments))]))
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": It is not")[0] for line in said] == ["Error: a.tflite", "Error: ssh://pi@gone"]


def test_a_regression_fails_with_each_case_in_a_line(results):
    rules = [
        "--fail-if",
        "latency_ms_p50 > 1.05x",
        "--fail-if",
        "top1 < baseline - 0.005",
        "--fail-if",
        "size_bytes > 1x",
    ]
    result = report(results, "new.json", "--baseline", "old.json", *rules)
    assert result.returncode == 1 and "p50 change" in result.stdout and "+20.0 %" in result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2
    assert "a.tflite on local, 1 thread: `latency_ms_p50 > 1.05x` is true: 6" in errors[0] and "baseline 5" in errors[0]
    assert "`top1 < baseline - 0.005` is true: 0.89, baseline 0.9, limit 0.895." in errors[1]
    succeeded(report(results, "new.json", "--baseline", "old.json", "--fail-if", "latency_ms_p50 > 1.5x"))


def test_a_rule_without_a_baseline_row_does_not_pass(results):
    result = report(results, "devices.json", "--baseline", "old.json", "--fail-if", "size_bytes > 2x")
    assert result.returncode == 1 and "cannot be checked: the baseline has no such row" in result.stderr


@pytest.mark.integration
def test_what_cannot_be_is_a_usage_error(results):
    assert "latency_ms_p50" in failed(report(results, "old.json", "--fail-if", "latency_ms_p5 > 1"), 2)
    assert "needs a baseline" in failed(report(results, "old.json", "--fail-if", "size_bytes > 1x"), 2)
    assert "stdout" in failed(report(results, "old.json", "--json", "--csv", "-"), 2)
    assert "written twice" in failed(report(results, "old.json", "--html", "x", "--csv", "./x"), 2)
    before = (results / "old.json").read_bytes()
    assert "overwritten" in failed(report(results, "old.json", "--csv", "./old.json"), 2)
    assert (results / "old.json").read_bytes() == before
    assert "cannot be a folder" in failed(report(results, "old.json", "--csv", "old.json/x.csv"))
    assert "no figure reaches" in failed(report(results, "old.json", "--fail-if", "latency_ms_p50 > 1e999"), 2)
    assert "is a folder" in failed(report(results, "old.json", "--html", "."), 2)
    (results / "cut.json").write_text((results / "old.json").read_text()[:500])
    assert "cut.json is cut off" in failed(report(results, "cut.json"))
    assert "missing.json" in failed(report(results, "missing.json"))


def test_a_writer_that_fails_keeps_nothing_else_back(results, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bopkit.benchmark.reports.build.render_page", full)
    result = report(results, "old.json", "--html", "page.html", "--csv", "figures.csv")
    assert "a.tflite" in result.stdout and (results / "figures.csv").exists()
    assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith("Error: ")


def test_stdout_takes_one_format_and_json_is_read_again(results):
    assert succeeded(report(results, "old.json", "--markdown", "-")).startswith("| artifact |")
    assert succeeded(report(results, "old.json", "--csv", "-")).startswith("artifact,device,")
    merged = json.loads(succeeded(report(results, "old.json", "new.json", "--json")))
    write_json(results / "merged.json", merged)
    assert [len(each["earlier"]) for each in merged["entries"]] == [1]
    assert "(+1 earlier)" in succeeded(report(results, "merged.json"))


def test_rows_that_failed_are_no_crash(results):
    write_json(results / "failed.json", make_report(failed_row("a.tflite"), failed_row("b.tflite")).to_dict())
    result = report(results, "failed.json", "--html", "page.html")
    assert "failed" in succeeded(result)
    assert "a.tflite: failed: It is not a complete TensorFlow Lite model. Export it again." in result.stderr
    assert "Error" not in result.stderr
    ruled = report(results, "failed.json", "--fail-if", "top1 < 0.9")
    assert ruled.returncode == 1 and "Error: a.tflite" in ruled.stderr


def test_notes_say_which_row_they_are_about_and_once(results):
    rows = [make_row("a.tflite", threads=each, notes=["For all.", f"For {each}."]) for each in (1, 4)]
    write_json(results / "notes.json", make_report(*rows).to_dict())
    lines = report(results, "notes.json").stderr.splitlines()
    assert lines == ["a.tflite: For all.", "a.tflite, 1 thread: For 1.", "a.tflite, 4 threads: For 4."]


def test_accuracy_comes_from_the_result_that_has_it(results):
    file = {"model_sha256": "ab" * 32}
    write_json(results / "i.json", make_report(make_row("a.tflite", top1=0.93, **file)).to_dict())
    latency = make_report(make_row("a.tflite", 4.0, None, **file), date="2026-11-22T00:00:00+00:00")
    write_json(results / "dev.json", latency.to_dict())
    result = report(results, "i.json", "dev.json", "--fail-if", "top1 < 0.9")
    assert "93.00 %" in succeeded(result) and "accuracy on 2000 pictures of cifar10 test" in result.stdout
    assert "91.70 to 94.20 %" in result.stdout.partition("top-1, 95 %")[2]
    assert result.stderr == "a.tflite: Accuracy from i.json (2026-11-20), measured on the same file (same SHA-256).\n"


@pytest.mark.parametrize("order", [("host.json", "board.json"), ("board.json", "host.json")])
def test_the_speed_of_accuracy_is_shown_whichever_result_comes_first(order, results):
    file = {"model_sha256": "ab" * 32}
    write_json(results / "host.json", make_report(make_row("a.tflite", images_per_second=597.0, **file)).to_dict())
    board = make_row("a.tflite", 4.0, None, device="ssh://pi@board", **file)
    write_json(results / "board.json", make_report(board).to_dict())
    headings, *cells = succeeded(report(results, *order)).partition("artifact       top-1, 95 %")[2].splitlines()
    assert "agreement" not in headings and len(cells) == 1  # nothing was compared
    assert cells[0].split()[-1] == "597"


@pytest.mark.integration
def test_a_benchmark_writes_its_files_also_when_a_row_fails(tmp_path):
    (tmp_path / "cut.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3")
    files = ["-o", "out/result.json", "--html", "page.html", "--csv", "-"]
    result = bopkit("benchmark", "cut.tflite", *files, cwd=tmp_path)
    assert result.returncode == 1 and "not a complete TensorFlow Lite model" in result.stderr
    assert "Error: cut.tflite" in result.stderr
    assert result.stdout.splitlines()[1].startswith("cut.tflite,local,")
    (row,) = read_reports(tmp_path / "out" / "result.json")[0].rows
    assert row.error and '<h3 class="bad">Failed' in (tmp_path / "page.html").read_text()
    assert "is a folder" in failed(bopkit("benchmark", "cut.tflite", "-o", "out", cwd=tmp_path), 2)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The file of a small network."""
    folder = tmp_path_factory.mktemp("network")
    return init_model("tiny.network", folder / "small.h5", hparams={"filters": 4})


@pytest.mark.integration
def test_compare_weighs_and_times_a_network_and_its_twins(network, tmp_path):
    options = ["--runs", 5, "--profile", "-o", "kept", "--html", "page.html", "--svg", "chart.svg", "--json"]
    result = bopkit("compare", network, *options, cwd=tmp_path, program=FORKED_CHILDREN + NO_TENSORFLOW)
    found = json.loads(succeeded(result))
    packed, float32, int8 = found["rows"]
    assert [row["artifact"] for row in found["rows"]] == ["small (packed)", "small (float32 twin)", "small (int8 twin)"]
    assert packed["size_bytes"] < int8["size_bytes"] < float32["size_bytes"] and packed["floor_bytes"]
    assert all(row["top1"] is None and row["latency_ms_p50"] > 0 for row in found["rows"])
    assert [(gain["variant"], gain["size_ratio"] > 1) for gain in found["gains"]] == [
        ("float32 twin", True),
        ("int8 twin", True),
    ]
    assert found["gains"][0]["latency_ratio"] == pytest.approx(float32["latency_ms_p50"] / packed["latency_ms_p50"])
    # Steps add up to an inference; layers to the file. A twin has nothing of the delegate's.
    assert len(packed["steps"]) > 5 and int8["steps"] == []
    steps_ms = sum(step["latency_ms_mean"] for step in packed["steps"])
    assert packed["latency_ms_min"] / 10 < steps_ms < 10 * packed["latency_ms_mean"]
    assert sum(layer["size_bytes"] for layer in packed["layers"]) == packed["size_bytes"]
    assert any(layer["is_packed"] for layer in packed["layers"]) and not any(
        each["is_packed"] for each in int8["layers"]
    )
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "small.float32.tflite",
        "small.int8.tflite",
        "small.tflite",
    ]
    assert "What binarization buys" in (tmp_path / "page.html").read_text()
    assert "int8 twin" in (tmp_path / "chart.svg").read_text()
    (tmp_path / "compared.json").write_text(result.stdout)
    assert len(read_reports(tmp_path / "compared.json")[0].rows) == 3
    assert "fully_quantize" not in result.stderr


@pytest.mark.integration
def test_compare_refuses_what_it_cannot_know(network, tmp_path):
    assert "binarynet" in failed(bopkit("compare", "binarynett"), 2)
    other = shutil.copy(network, tmp_path)
    assert "Files of small" in failed(bopkit("compare", network, other), 2)
    assert "--limit needs a dataset" in failed(bopkit("compare", network, "--limit", 5), 2)
    untrained = bopkit("compare", network, network, "binarynet", "--dataset", "digits", program=NO_TENSORFLOW)
    assert "is trained" in failed(untrained, 2)


@pytest.mark.integration
@pytest.mark.skipif(ssh_server.MISSING is not None, reason=str(ssh_server.MISSING))
def test_compare_asks_devices_first(network):
    device = f"ssh://127.0.0.1:{ssh_server.free_port()}"
    result = bopkit("compare", network, "--device", device, program=NO_TENSORFLOW)
    assert "refuses the connection" in failed(result) and result.stdout == ""


@pytest.mark.integration
@pytest.mark.parametrize("step", ["packed", "twins"])
def test_ctrl_c_while_comparing_leaves_nothing(step, network, tmp_path):
    """Where TensorFlow has just written a SavedModel to convert, it swallows a KeyboardInterrupt now and then."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "work").mkdir()
    targets = ["-o", "kept", "--html", "page.html"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    program = FORKED_CHILDREN + PROGRAM
    process = start_bopkit("compare", network, *targets, program=program, cwd=tmp_path / "work", env=environment)
    for line in process.stderr:
        if line == f"small: {step}\n":
            break
    before = set(tmp_path.rglob("saved_model.pb"))
    while set(tmp_path.rglob("saved_model.pb")) <= before:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130 and said.splitlines()[-1].startswith("Interrupted."), said
    assert not list((tmp_path / "scratch").iterdir()) and not list((tmp_path / "work").iterdir())
