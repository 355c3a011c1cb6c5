"""The four networks of the papers, end to end: what LCE computes, on real pictures.

Both runtimes compute binary layers exactly, and add up the float layers in different orders. A value that is zero but
for rounding may then have another sign, and everything behind it follows. So the networks run with the inputs of all
their LceQuantize operators as further outputs, which tell where signs first differ: only values that are zero within
rounding may, and a picture without such a sign must have the same scores.

With real layers in int8 no order of sums matters: those networks have the bits of LiteRT's reference kernels.

It needs bopkit and larq-compute-engine: `pip install -e .[dev]` at the root of the repository. A folder in the
environment variable BOPKIT_RUNTIME_NETWORKS with the `.tflite` files saves making them.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from harness import Runner

pytestmark = pytest.mark.integration

NETWORKS = ("binarynet", "xnornet", "birealnet", "binary_alexnet")
INT8_NETWORKS = ("birealnet", "quicknet")
TOLERANCE = 1e-5
"""Of scores, and of values between layers, relative to the largest of them."""

PICTURES = 6


def write_network(name, folder, is_int8=False):
    """An untrained network as `bopkit` exports it."""
    ready = os.environ.get("BOPKIT_RUNTIME_NETWORKS")
    if ready:
        return Path(ready, f"{name}{'-int8' if is_int8 else ''}.tflite").read_bytes()
    program = "from bopkit.cli import main; main()"
    for arguments in (["init", name, "--output"], ["export", "--tflite", *(int8_options(folder) if is_int8 else [])]):
        command = [sys.executable, "-c", program, *arguments, str(folder / f"{name}.h5")]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return (folder / f"{name}.tflite").read_bytes()


def int8_options(folder):
    """Of `bopkit export`, for real layers in int8; there is no accuracy that an untrained network could lose."""
    pixels = ((pictures_of((224, 224, 3)) + 1) * 127.5).astype(np.uint8)
    arrays = {"x_train": pixels, "x_test": pixels, "y_train": np.arange(PICTURES), "y_test": np.arange(PICTURES)}
    np.savez(folder / "pictures.npz", **arrays)
    dataset = f"npz:{folder / 'pictures.npz'}"
    calibration = ["--float-weights", "int8", "--calibrate", dataset, "--preprocess-fn", "resize:-1..1"]
    return [*calibration, "--max-drop", "100"]


def with_quantized_values(flatbuffer):
    """The network with the inputs of LceQuantize, in their order, as outputs behind its scores."""
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
    graph = model.subgraphs[0]
    names = [code.customCode for code in model.operatorCodes]
    inputs = [int(each.inputs[0]) for each in graph.operators if names[each.opcodeIndex] == b"LceQuantize"]
    graph.outputs = [int(graph.outputs[0]), *inputs]
    model.signatureDefs = []
    builder = flatbuffers.Builder(len(flatbuffer))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def pictures_of(shape):
    """Crops of scikit-learn's two photographs and its digits, as float32 [n, H, W, 3] from -1 to 1."""
    datasets = pytest.importorskip("sklearn.datasets")
    photographs = datasets.load_sample_images().images
    digits = datasets.load_digits().images[: PICTURES - 4]
    height, width, _ = shape
    pictures = []
    for photograph in photographs:
        for top, left in ((0, 0), (150, 300)):
            crop = photograph[top : top + 256, left : left + 256].astype(np.float32) / 127.5 - 1
            pictures.append(crop[np.ix_(np.arange(height) * 256 // height, np.arange(width) * 256 // width)])
    for digit in digits:
        rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
        pictures.append(np.repeat(digit[np.ix_(rows, columns)][..., None] / 8 - 1, 3, axis=-1))
    return np.stack(pictures).astype(np.float32)


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """By network: its flatbuffer, that with further outputs, pictures, and LCE's outputs for each."""
    import write_golden

    pytest.importorskip("sklearn.datasets")
    if not write_golden.is_lce_installed():
        pytest.skip("larq-compute-engine is not installed")
    extension, made = write_golden.lce_extension(), {}

    def make(name):
        if name not in made:
            flatbuffer = write_network(name, tmp_path_factory.mktemp(name))
            opened = with_quantized_values(flatbuffer)
            interpreter = extension.LiteInterpreter(opened, 2, True, False, False)
            pictures = pictures_of(tuple(interpreter.input_shapes[0][1:]))
            outputs = [[np.array(each) for each in interpreter.predict([picture[None]])] for picture in pictures]
            made[name] = flatbuffer, opened, pictures, outputs
        return made[name]

    return make


def first_difference(mine, theirs):
    """Number of the first LceQuantize that sees other signs, after a check of all values up to there; None for none."""
    for number, (ours, lces) in enumerate(zip(mine, theirs)):
        noise = TOLERANCE * np.abs(lces).max()
        np.testing.assert_allclose(ours, lces, rtol=0, atol=noise, err_msg=f"into LceQuantize {number}")
        flipped = (ours < 0) != (lces < 0)
        if flipped.any():
            assert np.abs(lces[flipped]).max() <= noise
            return number
    return None


@pytest.mark.parametrize("name", NETWORKS)
def test_network_agrees_with_lce(name, isa, delegate, references):
    flatbuffer, opened, pictures, outputs = references(name)
    same = 0
    for picture, (wanted, *theirs) in zip(pictures, outputs):
        for threads in (1, 2):
            scores, *mine = Runner(delegate(isa=isa, num_threads=threads), opened)([picture[None]])
            # What is fused when nobody looks changes no bit.
            alone = Runner(delegate(isa=isa, num_threads=threads), flatbuffer)([picture[None]])
            np.testing.assert_array_equal(alone[0], scores)
            if first_difference(mine, theirs) is None:
                same += 1
                np.testing.assert_allclose(scores, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())
                assert scores.argmax() == wanted.argmax()
    assert same >= len(pictures), f"{same} of {2 * len(pictures)} runs met no near-tie"


@pytest.mark.parametrize("name", INT8_NETWORKS)
def test_int8_network_has_the_bits_of_the_reference_kernels(name, isas, delegate, tmp_path):
    """LiteRT's reference kernels around our binary operators, against all operators in the delegate."""
    pytest.importorskip("sklearn.datasets")
    flatbuffer = write_network(name, tmp_path, is_int8=True)
    opened = with_quantized_values(flatbuffer)
    reference = Runner(delegate(claim="binary", num_threads=1), opened, uses_reference_kernels=True)
    for picture in pictures_of((224, 224, 3))[::2]:
        scores, *values = reference([picture[None]])
        for isa in isas:
            mine, *others = Runner(delegate(isa=isa, num_threads=2), opened)([picture[None]])
            alone = Runner(delegate(isa=isa, num_threads=2), flatbuffer)([picture[None]])
            np.testing.assert_array_equal(alone[0], mine)
            for number, (ours, theirs) in enumerate(zip(others, values)):
                np.testing.assert_array_equal(ours, theirs, err_msg=f"into LceQuantize {number}, {isa}")
            # The softmax is one of float32.
            np.testing.assert_allclose(mine, scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_binary_part_has_the_same_bits_on_every_instruction_set(name, isas, delegate, references):
    """And with any number of threads: only LiteRT's own float layers may depend on the machine."""
    flatbuffer, _, pictures, _ = references(name)
    runs = [
        Runner(delegate(isa=isa, num_threads=threads, claim="binary"), flatbuffer)([pictures[0][None]])[0]
        for isa in isas
        for threads in (1, 2, 3)
    ]
    for other in runs[1:]:
        np.testing.assert_array_equal(other, runs[0])
