import json

import pytest

from bopkit.errors import UsageError
from bopkit.runs.tensorboard import find_logs


@pytest.fixture
def prefix(tmp_path):
    for path, model in (("digits/binarynet/2026-01-01", "binarynet"), ("mine", "xnornet"), ("deep/a/b/c", "binarynet")):
        (tmp_path / path / "tensorboard").mkdir(parents=True)
        (tmp_path / path / "config.json").write_text(json.dumps({"model": model, "hparams": {}}))
    (tmp_path / "damaged" / "tensorboard").mkdir(parents=True)
    (tmp_path / "damaged" / "config.json").write_text("{")
    return tmp_path


def test_runs_are_found_wherever_they_are(prefix):
    assert {run.name for run in find_logs(None, prefix)} == {"2026-01-01", "mine", "c", "damaged"}
    assert {run.name for run in find_logs("binarynet", prefix)} == {"2026-01-01", "c"}


def test_nothing_to_show(prefix):
    with pytest.raises(UsageError, match="No TensorBoard logs"):
        find_logs("birealnet", prefix)
    with pytest.raises(UsageError, match="Unknown model"):
        find_logs("nosuch", prefix)
