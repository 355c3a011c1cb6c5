"""One wheel in the oldest and newest LiteRT, each in an environment of its own: the same bits."""

import sys

import numpy as np
import pytest
import sweep
from built import build_wheel, run

pytestmark = pytest.mark.integration

MODELS = ("chain-residual", "chain-scalar", "chain-two-inputs", "chain-int8", "chain-stem-integers", "chain-islands")
RUNTIMES = {
    "tflite-runtime 2.14": ("tflite-runtime==2.14.0", "numpy<2"),
    "ai-edge-litert 1.0.1": ("ai-edge-litert==1.0.1", "numpy<2"),
    "ai-edge-litert 1.4.0": ("ai-edge-litert==1.4.0", "numpy"),
    "ai-edge-litert, the newest": ("ai-edge-litert", "numpy"),
}
HAVE_NO_WHEEL = {"tflite-runtime 2.14": (3, 12), "ai-edge-litert 1.0.1": (3, 13), "ai-edge-litert 1.4.0": (3, 13)}
"""Python from which on a runtime has no wheel."""

PROGRAM = """
import pathlib, sys
import numpy as np
import bopkit_runtime
from bopkit_runtime.litert import import_litert

for model in map(pathlib.Path, sys.argv[1:]):
    feeds = np.load(model.with_suffix(".npz"))
    for threads in (1, 2):
        interpreter = bopkit_runtime.Interpreter(model, num_threads=threads)
        answers = interpreter.predict([feeds[name] for name in feeds.files])
        np.savez(f"{model.stem}-{threads}.npz", *answers)
print(*import_litert()[1:])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel("", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for case in sweep.CASES:
        if case.name in MODELS:
            (folder / f"{case.name}.tflite").write_bytes(case.graph.flatbuffer())
            np.savez(folder / f"{case.name}.npz", *case.feeds)
    paths = sorted(folder.glob("*.tflite"))
    assert len(paths) == len(MODELS)
    return paths


@pytest.fixture(scope="module")
def expected(models, tmp_path_factory):
    """What the LiteRT of this environment answers, which test_ops.py compares with the oracle."""
    from built import package_environment

    folder = tmp_path_factory.mktemp("expected")
    result = run([sys.executable, "-c", PROGRAM, *models], cwd=folder, env=package_environment())
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_same_bits(runtime, wheel, models, expected, tmp_path):
    if sys.version_info >= HAVE_NO_WHEEL.get(runtime, (4,)):
        pytest.skip(f"{runtime} has no wheel for this Python: run it with Python 3.11")
    python = tmp_path / "venv" / "bin" / "python"
    assert run([sys.executable, "-m", "venv", tmp_path / "venv"]).returncode == 0
    for arguments in (RUNTIMES[runtime], ("--no-deps", wheel)):
        result = run([python, "-m", "pip", "install", "--quiet", *arguments])
        assert result.returncode == 0, result.stderr
    result = run([python, "-c", PROGRAM, *models], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    name, version = result.stdout.split()[-2:]
    assert f"{name} {version}".startswith(runtime.partition(",")[0])
    compared = 0
    for path in expected.glob("*.npz"):
        want, got = np.load(path), np.load(tmp_path / path.name)
        assert want.files == got.files
        for each in want.files:
            np.testing.assert_array_equal(got[each], want[each], err_msg=f"{path.stem} {each}", strict=True)
            compared += 1
    assert compared >= 2 * len(MODELS)
