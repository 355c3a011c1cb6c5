"""Imports go one way, and what needs no TensorFlow imports none."""

import ast
import graphlib
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bopkit import moved

ROOT = Path(__file__).parents[2]

# Each line may import from the lines below it and from itself; what is not named is a small file of bopkit/.
ORDER = [
    ["cli"],
    ["models"],
    ["export/comparison", "export/verification"],
    ["export"],
    ["export/checks", "export/publish"],
    ["export/serving", "export/tflite"],
    ["export/reference"],
    ["export/pictures", "export/inspection"],
    ["export/sources"],
    ["export/network"],
    ["export/labels", "export/options", "export/report", "export/spec"],
    ["bopkit/benchmark", "bopkit/sweep"],
    ["bopkit/training"],
    ["bopkit/data", "bopkit/optim", "bopkit/pretrained"],
    ["bopkit/artifacts"],
    ["bopkit/runs"],
    ["bopkit"],
]
SMALL_FILES = """
    __init__ architecture batch_norm binary_kernels catalogue counting doctor errors failures figures files
    garbage_collection hparams host host_compiler interruption isolation keras2 layers metrics moved own_code
    own_optimizer picture_meter progress python_process registry schedules scratch seeds tabular text
    unfused_norms versions
""".split()
"""What may stand in bopkit/ outside a folder: used by several folders, and about nothing that has a folder."""


def module_files():
    """Every module of the four packages by its dotted name."""
    modules = {}
    for folder in ("bopkit", "cli", "export", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if folder == "bopkit" else ("bopkit", *parts)
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = module_files()


def imports(path):
    """The modules of the four packages that a file imports, at its head or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in MODULES or node.module in MODULES:
                    yield name if name in MODULES else node.module


def rank(path):
    """The line of ORDER that a file or the nearest folder above it stands in."""
    place = path.relative_to(ROOT).with_suffix("")
    for candidate in (place, *place.parents):
        for number, line in enumerate(ORDER):
            if candidate.as_posix() in line:
                return number
    raise AssertionError(f"{place} stands in no line of ORDER")


@pytest.mark.integration
def test_imports_run_one_way():
    upward = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in MODULES.values()
        for name in imports(path)
        if rank(MODULES[name]) < rank(path)
    ]
    assert len(MODULES) > 200
    assert not upward


def test_the_two_export_formats_import_nothing_of_each_other():
    for folder, other in (("serving", "tflite"), ("tflite", "serving")):
        for path in (ROOT / "export" / folder).glob("*.py"):
            assert not [name for name in imports(path) if name.startswith(f"bopkit.export.{other}")], path


def test_models_import_little():
    """A network is read by people who know nothing else of bopkit."""
    allowed = re.compile(r"bopkit\.(architecture|hparams|keras2|layers|optim|models)(\.|$)")
    for path in (ROOT / "models").glob("*.py"):
        assert not [name for name in imports(path) if not allowed.match(name)], path


def test_no_two_files_import_each_other():
    graph = {name: set(imports(path)) - {name} for name, path in MODULES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError and names the circle


def test_bopkit_holds_folders_and_small_files():
    assert {path.stem for path in (ROOT / "bopkit").glob("*.py")} == set(SMALL_FILES)


def test_old_names_of_modules_give_the_modules_themselves():
    for old, new in moved.MOVED.items():
        with pytest.warns(DeprecationWarning, match=f"{old} is {new} now"):
            module = importlib.import_module(old)
        assert module is sys.modules[new]
        del sys.modules[old]


@pytest.mark.integration
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


def test_version():
    import bopkit

    assert bopkit.__version__ == importlib.metadata.version("bopkit")
    assert "__version__" in dir(bopkit)


QUIET = """
import bopkit
bopkit.init_model("binarynet", "net.h5")
bopkit.load_model("net.h5")
import tensorflow as tf
tf.get_logger().warning("5 out of the last 5 calls triggered tf.function retracing")
"""


@pytest.mark.integration
@pytest.mark.parametrize("is_level_set", [False, True])
def test_python_is_as_quiet_as_the_command_line(is_level_set, tmp_path):
    """But for a user who says how much TensorFlow logs."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    if is_level_set:
        environment["TF_CPP_MIN_LOG_LEVEL"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", QUIET], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ("retracing" in done.stderr) is is_level_set
    assert (done.stderr != "") is is_level_set, done.stderr


@pytest.mark.integration
def test_keras_2_after_importing_bopkit_alone():
    code = "import bopkit, tensorflow as tf, larq; assert tf.keras.layers.Layer.__module__.startswith('tf_keras')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.integration
@pytest.mark.parametrize("touch", ["tf.keras.layers.Dense(1)", pytest.param("tf.keras", marks=pytest.mark.release)])
def test_keras_3_loaded_first(touch):
    code = f"import os; os.environ.pop('TF_USE_LEGACY_KERAS', None); import tensorflow as tf; {touch}; import bopkit"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    if touch == "tf.keras":  # naming it is not yet touching it
        assert result.returncode == 0, result.stderr
    else:
        assert "Keras 3 is already loaded" in result.stderr.splitlines()[-1]
        assert "import bopkit" in result.stderr.splitlines()[-1]
