"""Imports go one way, and what needs no TensorFlow imports none."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "bopkit": set(),
    "models": {"bopkit"},
    "export": {"bopkit"},
    "cli": {"bopkit", "models", "export"},
}


def imported_packages(path):
    """Folders that a file imports from, by the names `bopkit.cli`, `bopkit.export` and `bopkit.models`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "bopkit":
                yield parts[1] if len(parts) > 1 and parts[1] in ("cli", "export", "models") else "bopkit"


@pytest.mark.parametrize("folder", ALLOWED)
def test_import_direction(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) >= 5
    for path in files:
        outside = set(imported_packages(path)) - {folder} - ALLOWED[folder]
        assert not outside, f"{path} imports {outside}"


@pytest.mark.parametrize(
    "statement",
    [
        "import bopkit",
        "import bopkit.cli",
        "import bopkit.training, bopkit.data, bopkit.optim, bopkit.benchmark, bopkit.export",
        "import bopkit; bopkit.list_models(); bopkit.list_datasets(); bopkit.list_hparams('xnornet')",
    ],
)
def test_no_tensorflow_at_import(statement):
    code = f"{statement}; import sys; sys.exit(any(m in sys.modules for m in ('tensorflow', 'larq', 'keras')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_function_resolves():
    import bopkit

    assert len(bopkit.__all__) >= 12
    for name in bopkit.__all__:
        assert getattr(bopkit, name).__doc__


def test_keras_2_after_importing_bopkit_alone():
    code = "import bopkit, tensorflow as tf, larq; assert tf.keras.layers.Layer.__module__.startswith('tf_keras')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("touch", ["tf.keras.layers.Dense(1)", "tf.keras"])
def test_keras_3_loaded_first(touch):
    code = f"import os; os.environ.pop('TF_USE_LEGACY_KERAS', None); import tensorflow as tf; {touch}; import bopkit"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    if touch == "tf.keras":  # naming it is not yet touching it
        assert result.returncode == 0, result.stderr
    else:
        assert "Keras 3 is already loaded" in result.stderr.splitlines()[-1]
        assert "import bopkit" in result.stderr.splitlines()[-1]
