"""`bopkit_runtime.Interpreter`: batches, several inputs and outputs, and what it says of what does not fit."""

import concurrent.futures
import copy
import dataclasses
import gc
import os
import pickle
import sys
import threading
import time

import flatbuffers
import models
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


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize(("threads", "count"), [(2, 8), (2, 9), (3, 17), (3, 5), (4, 64)])
def test_threads_share_a_large_batch(write, threads, count, profile):
    """Each takes images of its own, of which some are left over for all; those of a profile stay in one place."""
    path = write(ONE_INPUT)
    images = np.random.default_rng(0).normal(size=(count, *ONE_INPUT.feeds[0].shape[1:])).astype("float32")
    expected = Interpreter(path).predict(images)
    interpreter = Interpreter(path, num_threads=threads, profile=profile)
    for _ in range(3):
        assert_equal(interpreter.predict(images), expected)
    runs = {step["runs"] for part in interpreter.describe()["partitions"] for step in part["steps"]}
    assert runs == ({3 * -(-count // 2)} if profile else {0})  # the file states a batch of two


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_replicas_share_their_weights(write):
    """Eight more interpreters of a model take less memory than two copies of its weights."""
    graph = models.Graph()
    x = graph.dequantize(graph.quantize(graph.input((1, 1024))), 1024)
    for _ in range(4):
        x = graph.dense(x, np.random.default_rng(x).normal(size=(1024, 1024)).astype("float32"), None)
    path = write(graph.output(x).flatbuffer())
    program = """
import resource, sys, bopkit_runtime
def resident_mb():
    text = open("/proc/self/statm").read().split()
    return (int(text[1]) - int(text[2])) * resource.getpagesize() / 1e6
kept = [bopkit_runtime.Interpreter(sys.argv[1]) for _ in range(2)]
before = resident_mb()
kept += [bopkit_runtime.Interpreter(sys.argv[1]) for _ in range(8)]
print(resident_mb() - before)
"""
    done = run([sys.executable, "-c", program, path], env=package_environment())
    assert done.returncode == 0, done.stderr
    weights_mb = 4 * 4 * 1024**2 / 1e6
    assert float(done.stdout) < 2 * weights_mb


@pytest.mark.parametrize("what", ["replaced", "removed", "written to"])
def test_a_large_batch_of_a_file_that_has_changed(write, what):
    """The model is the one that was opened, for all images."""
    path = write(ONE_INPUT)
    images = np.random.default_rng(0).normal(size=(9, *ONE_INPUT.feeds[0].shape[1:])).astype("float32")
    expected = Interpreter(path).predict(images)
    interpreter = Interpreter(path, num_threads=2)
    if what == "removed":
        path.unlink()
    elif what == "replaced":
        other = path.with_name("other.tflite")
        other.write_bytes(TWO_INPUTS.graph.flatbuffer())
        os.replace(other, path)
    else:
        with open(path, "ab") as file:
            file.write(b"\0" * 16)
    assert_equal(interpreter.predict(images), expected)


def test_threads_of_replicas_end_with_their_interpreter(write):
    before = threading.active_count()
    interpreter = Interpreter(write(ONE_INPUT), num_threads=3)
    interpreter.predict(np.ones((24, *ONE_INPUT.feeds[0].shape[1:]), "float32"))
    assert threading.active_count() == before + 2
    del interpreter
    gc.collect()
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_an_error_in_a_large_batch_is_raised(write):
    interpreter = Interpreter(write(merging_graph((3,)).flatbuffer()), num_threads=2)
    for _ in range(2):
        with pytest.raises(BopkitRuntimeError, match="not give one answer an image"):
            interpreter.predict(np.ones((16, 4, 4, 3), "float32"))
    assert_equal(interpreter.predict(np.ones((1, 4, 4, 3), "float32")), np.full(3, 2, "float32"))


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
@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_file_with_a_fixed_batch_answers_for_any_number(write, who, count):
    case = FIXED_BATCH[who]
    (images,) = case.feeds
    (expected,) = oracle.evaluate(case.graph, case.feeds)
    rows = np.arange(count) % len(images)
    assert_equal(Interpreter(write(case)).predict(images[rows]), expected[rows])


def merging_graph(shape):
    """A graph that, resized to n images, gives one row for all of them."""
    graph = models.Graph()
    y = graph.mean(graph.binary("ADD", graph.input((1, 4, 4, 3)), graph.constant(np.ones(3, np.float32))))
    return graph.output(graph.reshape(y, shape))


def test_images_are_never_merged(write):
    """Resized, the file would answer [1, 15]: one answer for five images."""
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    got = Interpreter(write(merging_graph((1, -1)).flatbuffer())).predict(images)
    assert got.shape == (5, 3)
    np.testing.assert_allclose(got, images.mean((1, 2)) + 1, rtol=1e-6)


def test_answers_without_a_batch_are_not_joined(write):
    images = np.ones((2, 4, 4, 3), "float32")
    interpreter = Interpreter(write(merging_graph((3,)).flatbuffer()))
    assert_equal(interpreter.predict(images[:1]), np.full(3, 2, "float32"))
    with pytest.raises(BopkitRuntimeError, match=r"not give one answer an image.*arrays of shape \[1, 4, 4, 3\], one"):
        interpreter.predict(images)


def test_inputs_of_different_numbers_of_images(write):
    picture, mask = TWO_INPUTS.feeds
    with pytest.raises(UsageError, match="The inputs hold 2 and 1 images. Give as many for each input."):
        Interpreter(write(TWO_INPUTS)).predict([np.concatenate([picture, picture]), mask])


@pytest.mark.parametrize("kind", ["layers", "tensors"])
def test_names_of_layers_and_of_tensors(write, kind):
    graph = models.Graph()
    left, right = graph.input((1, 2, 2, 3)), graph.input((1, 2, 2, 3))
    graph.output(graph.binary("SUB", left, right))
    # Backwards in the alphabet, which orders a signature.
    graph.names = {left: "z", right: "a", graph.outputs[0]: "difference"}
    interpreter = Interpreter(write(graph.flatbuffer()))
    assert [info.name for info in interpreter.inputs] == ["z", "a"]
    five, two = (np.full((3, 2, 2, 3), value, "float32") for value in (5, 2))
    names = {"layers": ("z", "a", "difference"), "tensors": ("t0", "t1", "t2")}[kind]
    answers = interpreter.predict({names[1]: two, names[0]: five})
    assert list(answers) == [names[2]]
    assert_equal(answers[names[2]], np.full((3, 2, 2, 3), 3, "float32"))
    with pytest.raises(UsageError, match="Inputs are named 'a', 't0'. The model's are 'z', 'a'."):
        interpreter.predict({"a": two, "t0": five})


def test_a_signature_that_names_what_is_not_there(write):
    graph = models.Graph()
    graph.output(graph.relu(graph.input((1, 3))))
    graph.names = {0: "x", 9: "missing", 1: "y"}
    interpreter = Interpreter(write(graph.flatbuffer()))
    assert interpreter.inputs[0].name == "t0"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "takes arrays, not None. Give one array of shape"),
        (3.0, "takes arrays, not float. Give one array of shape"),
        ("picture.jpg", "takes arrays, not str. "),
        ([1, 2], r"has 1 input\(s\), but 2 were given. Give one array of shape .*np.stack\(images\) joins"),
        ([[[1, 2], [3]]], "Input 't0' got no array: .* Give an array of float32 of shape"),
        (np.array(["a"]), "Input 't0' takes numbers, not ndarray of <U1. Give an array of float32 of shape"),
        ({"t0": None}, "Input 't0' takes numbers, not None of object."),
        ({}, "Inputs are named nothing. The model's are 't0'."),
    ],
)
def test_what_is_no_array(write, images, message):
    with pytest.raises(UsageError, match=message) as raised:
        Interpreter(write(ONE_INPUT)).predict(images)
    assert "\n" not in str(raised.value)


def test_an_array_of_another_library(write):
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return ONE_INPUT.feeds[0]

    assert_equal(Interpreter(write(ONE_INPUT)).predict(Tensor()), oracle.evaluate(ONE_INPUT.graph, ONE_INPUT.feeds)[0])


def test_a_tensor_in_use_is_named(write):
    interpreter = Interpreter(write(ONE_INPUT))
    view = interpreter.litert.tensor(interpreter.litert.get_input_details()[0]["index"])()
    with pytest.raises(BopkitRuntimeError, match=r"still uses the tensors.*Delete the arrays that `litert.tensor\(\)`"):
        interpreter.predict(ONE_INPUT.feeds[0])
    del view
    interpreter.predict(ONE_INPUT.feeds[0])


def test_threads_wait_for_their_turn(write):
    """LiteRT refuses what two threads do at once, or answers for the images of the other."""
    interpreter = Interpreter(write(ONE_INPUT), num_threads=2)
    batches = [np.roll(ONE_INPUT.feeds[0], shift, axis=1)[:1] for shift in range(4)]
    expected = [interpreter.predict(batch) for batch in batches]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        got = list(pool.map(interpreter.predict, batches * 50))
    for index, answer in enumerate(got):
        assert_equal(answer, expected[index % 4])


FORK = """
import os, sys
import numpy as np
import bopkit_runtime

threads, what = int(sys.argv[2]), sys.argv[3]
images = np.load(sys.argv[4])
interpreter = bopkit_runtime.Interpreter(sys.argv[1], num_threads=threads)
expected = interpreter.predict(images)

def use_in_child():
    global interpreter
    if what == "drop":
        del interpreter
    elif what == "new":
        interpreter = bopkit_runtime.Interpreter(sys.argv[1], num_threads=threads)
    if what in ("new", "predict"):
        assert (interpreter.predict(images) == expected).all()

child = os.fork()
if child == 0:
    try:
        use_in_child()
    except bopkit_runtime.BopkitRuntimeError as error:
        print(error)
    sys.exit(0)  # by way of the end of Python, which frees what is left
status = os.waitpid(child, 0)[1]
assert (interpreter.predict(images) == expected).all()
print("status", status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("batches", [1, 8])
@pytest.mark.parametrize("network", ["binary", "float"])
@pytest.mark.parametrize(
    ("threads", "what", "said"),
    [
        (1, "predict", ""),
        (3, "drop", ""),
        (3, "new", ""),
        (3, "predict", "The interpreter was made before a fork, and its threads are not in this process. "),
    ],
)
def test_a_fork(write, tmp_path, network, threads, what, said, batches):
    """Our threads run the binary network, LiteRT's own the float one; of several batches each runs some."""
    images, model = ONE_INPUT.feeds[0], ONE_INPUT
    if network == "float":
        graph, source = models.Graph(), np.random.default_rng(0)
        images, weights = (source.normal(size=size).astype("float32") for size in ((1, 16, 16, 8), (16, 3, 3, 8)))
        graph.output(graph.conv(graph.input(images.shape), weights, np.zeros(16, np.float32)))
        model = graph.flatbuffer()
    np.save(tmp_path / "images.npy", np.concatenate([images] * batches))
    command = [sys.executable, "-W", "ignore", "-c", FORK, write(model), threads, what, tmp_path / "images.npy"]
    done = run(command, env=package_environment(), timeout=60)
    assert done.stdout.startswith(said) and done.stdout.endswith("status 0\n"), done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_with_a_delegate_alone(write, tmp_path):
    """Whoever gives LiteRT's interpreter our delegate, and no threads of its own, can use it in a child."""
    np.save(tmp_path / "images.npy", ONE_INPUT.feeds[0])
    program = FORK.replace(
        "interpreter = bopkit_runtime.Interpreter(sys.argv[1], num_threads=threads)", MADE_BY_HAND, 1
    )
    command = [sys.executable, "-W", "ignore", "-c", program, write(ONE_INPUT), 3, "predict", tmp_path / "images.npy"]
    done = run(command, env=package_environment(), timeout=60)
    assert done.stdout == "status 0\n", done.stdout + done.stderr


MADE_BY_HAND = """
class ByHand:
    def __init__(self):
        module = bopkit_runtime.litert.import_litert().module
        self.delegate = bopkit_runtime.load_delegate(threads)
        self.litert = module.Interpreter(sys.argv[1], experimental_delegates=[self.delegate])
        self.litert.allocate_tensors()

    def predict(self, images):
        self.litert.set_tensor(self.litert.get_input_details()[0]["index"], images)
        self.litert.invoke()
        return self.litert.get_tensor(self.litert.get_output_details()[0]["index"])

interpreter = ByHand()
"""


def test_an_interpreter_is_not_copied(write):
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(UsageError, match="cannot be copied or pickled. Make another of the same file."):
            copied(Interpreter(write(ONE_INPUT)))


def test_a_file_that_is_cut_short(write):
    """Wherever; most versions of LiteRT crash on such a file."""
    flatbuffer = ONE_INPUT.graph.flatbuffer()
    assert is_whole(flatbuffer)
    for length in (*range(8, 3000, 7), *range(3000, len(flatbuffer), 501), len(flatbuffer) - 1):
        assert not is_whole(flatbuffer[:length]), length
    for length in (0, 3, 8, 1000, -1):
        path = write(flatbuffer[:length])
        with pytest.raises(BopkitRuntimeError, match="is damaged|is empty|is not a TensorFlow Lite flatbuffer"):
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
    with pytest.raises(BopkitRuntimeError, match=r"There is no file .*two\\nlines.tflite\."):
        Interpreter(tmp_path / "two\nlines.tflite")
    with pytest.raises(UsageError, match="The path is None."):
        Interpreter(None)


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
        ({"num_threads": "4"}, "num_threads is '4'. Use a number from 1 to 256."),
        ({"num_threads": 2.5}, "num_threads is 2.5."),
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


def test_describe_tells_the_units_that_threads_would_share(write):
    """Of as many threads as asked for, run by one."""
    litert = bopkit_runtime.litert.import_litert().module
    path = write(CASES["chain-large"])
    for threads in (1, 3):
        options = {"num_threads": str(threads), "profile": "units"}
        delegate = litert.load_delegate(bopkit_runtime.library_path(), options)
        interpreter = litert.Interpreter(str(path), experimental_delegates=[delegate])
        interpreter.allocate_tensors()
        for _ in range(3):
            interpreter.invoke()
        steps = [step for part in bopkit_runtime.describe(delegate)["partitions"] for step in part["steps"]]
        units = [each for step in steps for each in step["unit_ns"]]
        assert all(sum(map(sum, step["unit_ns"])) <= step["least_ns"] for step in steps)
        assert (len(units) > 0) == (threads > 1)
        assert all(len(each) > 1 and min(each) > 0 for each in units)


def test_tensor_info_is_plain(write):
    (info,) = Interpreter(write(ONE_INPUT)).inputs
    assert info._asdict() == {
        "name": "t0", "shape": (2, 8, 8, 64), "dtype": np.dtype("float32"), "scale": 0.0, "zero_point": 0,
    }  # fmt: skip
    assert not dataclasses.is_dataclass(info)
