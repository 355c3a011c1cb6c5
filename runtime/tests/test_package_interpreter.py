"""`bopkit_runtime.Interpreter`: batches, several inputs and outputs, and what it says of what does not fit."""

import dataclasses
import sys

import flatbuffers
import numpy as np
import oracle
import pytest
import sweep
from built import package_environment, run

import bopkit_runtime
from bopkit_runtime import BopkitRuntimeError, Interpreter, UsageError
from bopkit_runtime.flatbuffer import is_whole

CASES = {case.name: case for case in sweep.CASES}
ONE_INPUT, TWO_INPUTS, TWO_OUTPUTS = (CASES[f"chain-{name}"] for name in ("residual", "two-inputs", "scalar"))
FIXED_BATCH = {"litert": CASES["chain-reshaped-bits"], "ours": CASES["chain-flattened"]}


@pytest.fixture
def write(tmp_path):
    def write(case_or_bytes):
        is_case = isinstance(case_or_bytes, sweep.Case)
        path = tmp_path / "model.tflite"
        path.write_bytes(case_or_bytes.graph.flatbuffer() if is_case else case_or_bytes)
        return path

    return write


def assert_equal(got, want):
    np.testing.assert_array_equal(got, want, strict=True)


def test_predict_computes_the_batch_that_it_is_given(write):
    interpreter = Interpreter(write(ONE_INPUT))
    (images,) = ONE_INPUT.feeds
    (expected,) = oracle.evaluate(ONE_INPUT.graph, ONE_INPUT.feeds)
    for count in (2, 1, 5, 2):
        batch = np.resize(images, (count, *images.shape[1:]))
        assert_equal(interpreter.predict(batch), np.resize(expected, (count, *expected.shape[1:])))


def test_predict_answers_as_it_is_asked(write):
    interpreter = Interpreter(write(TWO_INPUTS), num_threads=2)
    (expected,) = oracle.evaluate(TWO_INPUTS.graph, TWO_INPUTS.feeds)
    as_list = interpreter.predict(TWO_INPUTS.feeds)
    assert isinstance(as_list, list)
    assert_equal(as_list[0], expected)
    names = [info.name for info in interpreter.inputs]
    backwards = dict(reversed(list(zip(names, TWO_INPUTS.feeds))))
    as_dict = interpreter.predict(backwards)
    assert list(as_dict) == [info.name for info in interpreter.outputs]
    assert_equal(as_dict[interpreter.outputs[0].name], expected)


WITHOUT_THREADS = """
import pathlib, resource, sys
import numpy as np
from bopkit_runtime import Interpreter

model, images = pathlib.Path(sys.argv[1]), np.load(sys.argv[2])
expected = Interpreter(model).predict(images)
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)  # stacks of a few threads
interpreter = Interpreter(model, num_threads=200)
assert (interpreter.predict(images) == expected).all()
print(interpreter.describe()["threads"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_threads_that_cannot_be_made_are_done_without(write, tmp_path):
    np.save(tmp_path / "images.npy", ONE_INPUT.feeds[0])
    command = [sys.executable, "-c", WITHOUT_THREADS, write(ONE_INPUT), tmp_path / "images.npy"]
    done = run(command, env=package_environment())
    assert done.returncode == 0, done.stderr
    assert 1 <= int(done.stdout) < 200


def test_several_outputs_of_one_array(write):
    (images,) = TWO_OUTPUTS.feeds
    got = Interpreter(write(TWO_OUTPUTS)).predict(images)
    for mine, theirs in zip(got, oracle.evaluate(TWO_OUTPUTS.graph, [images])):
        assert_equal(mine, theirs)
    assert len(got) == 2


def test_answers_are_copies(write):
    interpreter = Interpreter(write(ONE_INPUT))
    (images,) = ONE_INPUT.feeds
    first = interpreter.predict(images)
    kept = first.copy()
    interpreter.predict(-images)
    assert_equal(first, kept)


def test_quantized_input_tells_its_scale(write):
    case = CASES["chain-int8"]
    interpreter = Interpreter(write(case))
    info = interpreter.inputs[0]
    assert (info.dtype, info.zero_point) == (np.int8, -9) and info.scale == pytest.approx(0.05)
    with pytest.raises(UsageError, match=r"takes int8, not float32. Quantize: round\(x / 0.05\) \+ -9"):
        interpreter.predict(case.feeds[0].astype("float32"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images.astype("float64"), r"takes float32, not float64. Type images.astype\('float32'\)."),
        (lambda images: images.astype("uint8"), r"takes float32, not uint8. Scale the values as the model was trained"),
        (lambda images: images[0], r"takes shape \[n, 8, 8, 64\], not \[8, 8, 64\]. Add the batch: images\[None\]."),
        (lambda images: images[0, 0], r"not \[8, 64\]. Give an array of shape \[n, 8, 8, 64\]."),
        (lambda images: images[:, 1:], r"not \[2, 7, 8, 64\]. Scale or crop the images first."),
        (lambda images: images[:0], r"is empty: \[0, 8, 8, 64\]."),
        (lambda images: [images, images], r"has 1 input\(s\), but 2 were given."),
        (lambda images: {"images": images}, r"named 'images'. The model's are 't0'."),
    ],
)
def test_arrays_that_do_not_fit(write, change, message):
    with pytest.raises(UsageError, match=message):
        Interpreter(write(ONE_INPUT)).predict(change(ONE_INPUT.feeds[0]))


@pytest.mark.parametrize("who", FIXED_BATCH)
def test_a_file_with_a_fixed_batch_says_so_and_still_runs(write, who):
    case = FIXED_BATCH[who]
    interpreter = Interpreter(write(case))
    (images,) = case.feeds
    with pytest.raises(
        BopkitRuntimeError, match=rf"cannot run on .*Give it arrays of shape \[{len(images)}, "
    ) as raised:
        interpreter.predict(np.concatenate([images, images]))
    assert "\n" not in str(raised.value) and "Node number" not in str(raised.value)
    assert_equal(interpreter.predict([images])[0], oracle.evaluate(case.graph, case.feeds)[0])


def test_a_file_that_is_cut_short(write):
    """Wherever; most versions of LiteRT crash on such a file."""
    flatbuffer = ONE_INPUT.graph.flatbuffer()
    assert is_whole(flatbuffer)
    for length in (*range(8, 3000, 7), *range(3000, len(flatbuffer), 501), len(flatbuffer) - 1):
        assert not is_whole(flatbuffer[:length]), length
    for length in (0, 3, 8, 1000, -1):
        path = write(flatbuffer[:length])
        with pytest.raises(BopkitRuntimeError, match="is damaged|is not a TensorFlow Lite flatbuffer"):
            Interpreter(path)


def test_models_are_whole():
    for case in sweep.CASES[::10]:
        assert is_whole(case.graph.flatbuffer()), case.name


def test_a_file_that_points_everywhere_is_refused_soon():
    """Thousands of subgraphs in one place, each with thousands of tensors in one place."""
    builder = flatbuffers.Builder()

    def vector(table):
        builder.StartVector(4, 20_000, 4)
        for _ in range(20_000):
            builder.PrependUOffsetTRelative(table)
        return builder.EndVector()

    def table(fields):
        builder.StartObject(8)
        for number, offset in fields.items():
            builder.PrependUOffsetTRelativeSlot(number, offset, 0)
        return builder.EndObject()

    builder.Finish(table({2: vector(table({0: vector(table({}))}))}), file_identifier=b"TFL3")
    assert not is_whole(bytes(builder.Output()))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "a Keras file"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"root:x:0:0:root:/root:/bin/bash\n", "is not a TensorFlow Lite flatbuffer"),
    ],
)
def test_a_file_of_another_kind(write, start, message):
    with pytest.raises(BopkitRuntimeError, match=message):
        Interpreter(write(start))


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(BopkitRuntimeError, match="There is no file"):
        Interpreter(tmp_path / "none.tflite")
    with pytest.raises(BopkitRuntimeError, match="is a folder"):
        Interpreter(tmp_path)


def test_an_operator_that_nothing_runs(write):
    flatbuffer = ONE_INPUT.graph.flatbuffer()
    assert b"LceQuantize" in flatbuffer
    with pytest.raises(BopkitRuntimeError, match="has an operator XceQuantize that nothing here runs"):
        Interpreter(write(flatbuffer.replace(b"LceQuantize", b"XceQuantize")))


def test_an_operator_with_damaged_options(write):
    flatbuffer = ONE_INPUT.graph.flatbuffer()
    assert b"channels_in" in flatbuffer
    with pytest.raises(BopkitRuntimeError, match=r"LceBconv2d, .*\.$") as raised:
        Interpreter(write(flatbuffer.replace(b"channels_in", b"channels_im")))
    assert "\n" not in str(raised.value) and "Encountered" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_threads": 0}, "num_threads is 0. Use a number from 1 to 256."),
        ({"num_threads": 257}, "num_threads is 257."),
        ({"isa": "mmx"}, "no instruction set 'mmx' on this machine. Use auto or one of: .*portable"),
        ({"claim": "some"}, "claim is 'some'. Use one of: all, binary."),
    ],
)
def test_options_out_of_range(write, options, message):
    with pytest.raises(UsageError, match=message):
        Interpreter(write(ONE_INPUT), **options)


@pytest.mark.parametrize("fails", [False, True])
def test_garbage_in_a_cycle_ends_in_the_right_order(write, fails):
    """A caught error with its traceback is such a cycle. The wrong order is a crash: it needs a process of its own."""
    flatbuffer = ONE_INPUT.graph.flatbuffer()
    path = write(flatbuffer.replace(b"LceQuantize", b"XceQuantize") if fails else flatbuffer)
    program = """
import gc, sys, bopkit_runtime
for _ in range(20):
    cycle = []
    try:
        cycle += [cycle, bopkit_runtime.Interpreter(sys.argv[1])]
    except bopkit_runtime.BopkitRuntimeError as error:
        cycle += [cycle, error]
    del cycle
    gc.collect()
print("done")
"""
    result = run([sys.executable, "-c", program, path], env=package_environment())
    assert result.stdout == "done\n", result.stderr


def test_describe_tells_what_runs(write):
    isa = bopkit_runtime.isas()[-1]
    interpreter = Interpreter(write(ONE_INPUT), num_threads=2, isa=isa, profile=True)
    interpreter.predict(ONE_INPUT.feeds[0])
    told = interpreter.describe()
    assert (told["version"], told["isa"], told["threads"]) == (bopkit_runtime.version, isa, 2)
    steps = [step for partition in told["partitions"] for step in partition["steps"]]
    assert steps and all(step["runs"] == 1 and step["total_ns"] > 0 for step in steps)


def test_tensor_info_is_plain(write):
    (info,) = Interpreter(write(ONE_INPUT)).inputs
    assert info._asdict() == {
        "name": "t0", "shape": (2, 8, 8, 64), "dtype": np.dtype("float32"), "scale": 0.0, "zero_point": 0,
    }  # fmt: skip
    assert not dataclasses.is_dataclass(info)
