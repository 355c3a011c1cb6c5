"""Runs that differ in nothing but the seed."""

import json
import os

import pytest
from written_runs import append, epoch_row, write_run

from bopkit.runs.groups import group_runs, repeated_seeds, unfinished_alike
from bopkit.runs.summary import list_runs


def finished(path, top1, **settings):
    """A finished run whose last epoch has that validation top-1, and whose best is 0.9."""
    write_run(path, epochs=3, done=1, **settings)
    append(path, epoch_row(2, val_top1=0.9))
    append(path, epoch_row(3, val_top1=top1))
    (path / "model_last.h5").touch()
    return path


def by_name(tmp_path, sort="path"):
    return {os.path.relpath(group.path, tmp_path): group for group in group_runs(list_runs(tmp_path, sort), sort)}


def test_seeds_are_one_row_with_mean_and_interval_and_nothing_else_is(tmp_path):
    for seed, top1 in enumerate((0.70, 0.80, 0.75)):
        finished(tmp_path / f"a{seed}" / "run", top1, seed=seed)
    finished(tmp_path / "again", 0.5, seed=1)  # sorted behind a1: no further draw
    finished(tmp_path / "other", 0.5, seed=3, gamma=1e-2)
    write_run(tmp_path / "stopped", epochs=3, done=2, seed=4)
    write_run(tmp_path / "longer", epochs=4, done=4, seed=5)
    (write_run(tmp_path / "damaged", seed=6) / "metrics.jsonl").write_text("{}\n")
    (tmp_path / "damaged" / "model_last.h5").touch()
    groups = by_name(tmp_path)
    assert {name: len(group.runs) for name, group in groups.items()} == {
        **{"a*/run": 3, "again": 1, "other": 1, "stopped": 1, "longer": 1, "damaged": 1}
    }
    seeds = groups["a*/run"]
    assert seeds.seeds == [0, 1, 2] and seeds.val_top1 == pytest.approx(0.75)
    # Standard deviation 0.05, over the root of 3, times Student's 4.302653 at two degrees of freedom.
    assert seeds.val_top1_interval == pytest.approx((0.75 - 0.1242069, 0.75 + 0.1242069))
    assert (seeds.best_val_top1, *seeds.best_val_top1_interval) == pytest.approx((0.9, 0.9, 0.9))
    assert (groups["other"].val_top1, groups["other"].val_top1_interval) == (0.5, None)
    assert [run.path for run in repeated_seeds(list(groups.values()))] == [str(tmp_path / "again")]
    assert [run.path for run in unfinished_alike(list(groups.values()))] == [str(tmp_path / "stopped")]
    json.dumps(seeds.to_dict(), allow_nan=False)


def test_a_run_from_before_a_setting_was_there_is_alike_one_with_its_value_of_then(tmp_path):
    for seed, later in enumerate(({}, {"batch_norm_pictures": 0}, {"batch_norm_pictures": 1000})):
        config_file = finished(tmp_path / f"a{seed}", 0.7, seed=seed) / "config.json"
        config_file.write_text(json.dumps(json.loads(config_file.read_text()) | later))
    assert {name: len(group.runs) for name, group in by_name(tmp_path).items()} == {"a*": 2, "a2": 1}


def test_groups_are_sorted_by_their_means(tmp_path):
    for name, settings in {"a": {"gamma": 1e-2}, "b": {"gamma": 1e-3}}.items():
        for seed in (0, 1):
            finished(tmp_path / f"{name}{seed}", (0.9, 0.1)[seed] if name == "a" else 0.6, seed=seed, **settings)
    assert list(by_name(tmp_path, "val_top1")) == ["b*", "a*"]  # though the best single run is of the other
    assert list(by_name(tmp_path, "gamma")) == ["b*", "a*"]


def test_a_group_in_pandas(tmp_path):
    pytest.importorskip("pandas")
    for seed, top1 in enumerate((0.7, 0.8)):
        finished(tmp_path / str(seed), top1, seed=seed)
    frame = group_runs(list_runs(tmp_path)).to_pandas()
    assert len(frame) == 1
    assert frame["val_top1"][0] == pytest.approx(0.75) and frame["seeds"][0] == 2 and frame["gamma"][0] == 1e-3
    assert frame["val_top1_high"][0] == pytest.approx(0.75 + 12.7062047 * 0.05)
