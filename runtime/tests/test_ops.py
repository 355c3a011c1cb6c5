"""Each operator, alone and in chains, in LiteRT through the library: the oracle's bits, on every instruction set."""

import copy
import gc
import os
import threading

import numpy as np
import oracle
import pytest
import sweep
import write_golden
from case import Source, pairs
from harness import Runner, describe
from models import SAME, Graph
from sweep import CASES

BY_NAME = {case.name: case for case in CASES}
THREADS = (1, 2)


def assert_same(case, got, want, tolerance):
    assert len(got) == len(want)
    for number, (mine, theirs) in enumerate(zip(got, want)):
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype, f"{case.name}, output {number}"
        if tolerance:
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
        elif write_golden.bits_of(mine) != write_golden.bits_of(theirs):
            wrong = np.argwhere(mine != theirs)
            where = tuple(wrong[0]) if len(wrong) else ()
            pytest.fail(
                f"{case.name}, output {number}: {len(wrong)} of {mine.size} differ, the first at {where}: "
                f"{mine[where]!r}, not {theirs[where]!r}"
            )


@pytest.fixture(scope="module")
def expected():
    """The oracle's outputs by name, computed once."""
    return {case.name: oracle.evaluate(case.graph, case.feeds) for case in CASES}


@pytest.fixture(scope="module")
def golden():
    return write_golden.read_digests(), dict(np.load(write_golden.ARRAYS))


# The oracle, the cases, LCE and LiteRT.


@pytest.mark.parametrize("name", [case.name for case in CASES if case.kernels])
def test_oracle_has_the_golden_outputs(name, expected, golden):
    case, (digests, arrays) = BY_NAME[name], golden
    assert digests[name]["case"] == write_golden.fingerprint(case), "the case changed: run write_golden.py"
    tolerance, outputs = write_golden.golden_tolerance(case), expected[name]
    if case.kernels == "litert":
        outputs = oracle.evaluate(write_golden.without_lce(case.graph), case.feeds)
    if tolerance:
        assert_same(case, outputs, [arrays[f"{name}/{i}"] for i in range(len(outputs))], tolerance)
    else:
        assert [write_golden.digest(write_golden.bits_of(each)) for each in outputs] == digests[name]["outputs"]


def test_golden_outputs_are_complete(golden):
    assert set(golden[0]) == {case.name for case in CASES if case.kernels}
    assert all(case.reason for case in CASES if case.kernels not in ("reference", "litert"))
    assert len(CASES) == 1512
    assert sum(case.kernels == "reference" for case in CASES) == 560
    assert sum(case.kernels == "litert" for case in CASES) == 657


def test_every_pair_of_options_is_met():
    """Of those that can be: the options of a convolution exclude each other here and there."""
    covered = set().union(*(pairs(options) for options in sweep._cover()))
    for name, values in sweep._AXES.items():
        for other, others in sweep._AXES.items():
            if name < other:
                met = {pair for pair in covered if {pair[0][0], pair[1][0]} == {name, other}}
                impossible = {("activation", "output"): 3}.get((name, other), 0)
                if {name, other} & {"image", "size", "dilation", "padding"} == {name, other}:
                    assert len(met) >= 0.5 * len(values) * len(others), (name, other)
                else:
                    assert len(met) == len(values) * len(others) - impossible, (name, other)


# The runtime.


@pytest.mark.parametrize("name", BY_NAME)
def test_case(name, isa, delegate, expected):
    case = BY_NAME[name]
    for threads in THREADS:
        got = Runner(delegate(isa=isa, num_threads=threads), case.graph.flatbuffer())(case.feeds)
        assert_same(case, got, expected[name], case.tolerance)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.startswith("chain-")])
def test_binary_operators_alone(name, isa, delegate, expected):
    """The float operators left to LiteRT."""
    case = BY_NAME[name]
    got = Runner(delegate(isa=isa, claim="binary", num_threads=2), case.graph.flatbuffer())(case.feeds)
    assert_same(case, got, expected[name], case.tolerance)


def test_forced_instruction_set_is_used(isa, delegate):
    case, loaded = BY_NAME["chain-residual"], delegate(isa=isa, num_threads=2)
    run = Runner(loaded, case.graph.flatbuffer())
    run(case.feeds)
    told = describe(loaded)
    assert told["isa"] == isa and told["threads"] == 2
    assert told["claimed_nodes"] == len(case.graph.operators)
    assert len(told["partitions"]) == 1
    del run
    gc.collect()
    assert describe(loaded)["claimed_nodes"] == 0, "what an interpreter ran is gone with it"


def test_convolutions_in_groups_count_their_products(isa, delegate):
    """By them is told whether threads share the step."""
    graph, source = Graph(), Source("groups of int8")
    x, parts = graph.input((1, 8, 8, 8)), []
    for part in graph.split(x, 2):
        filters = source.integers(-127, 128, (16, 3, 3, 4)).astype(np.int8)
        q = graph.quantize_affine(part, 0.05)
        q = graph.conv(q, filters, np.zeros(16, np.int32), filter_scale=0.01, scale=0.1)
        parts.append(graph.dequantize_affine(q))
    loaded = delegate(isa=isa, num_threads=2)
    run = Runner(loaded, graph.output(graph.quantize(graph.concatenate(*parts))).flatbuffer())
    (partition,) = describe(loaded)["partitions"]
    (together,) = [step for step in partition["steps"] if step["name"].startswith("2 x int8 conv")]
    assert together["int8_macs"] == 2 * 8 * 8 * 3 * 3 * 4 * 16 and together["float_macs"] == 0
    del run


def test_more_threads_than_work(isa, delegate, expected):
    for name in ("chain-large", "chain-head-integers", "chain-packed"):
        got = Runner(delegate(isa=isa, num_threads=7), BY_NAME[name].graph.flatbuffer())(BY_NAME[name].feeds)
        assert_same(BY_NAME[name], got, expected[name], 0)


def test_unknown_instruction_set_is_an_error(delegate):
    with pytest.raises(ValueError, match="mmx"):
        delegate(isa="mmx")


def test_flipped_weight_is_found(isa, delegate, expected):
    """The comparison sees one wrong bit of 36,864."""
    case = sweep._convolution(sweep._PLAIN | {"image": (16, 16)})
    flipped = copy.deepcopy(case.graph)
    filters = flipped.tensors[flipped.operators[-1].inputs[1]].data
    filters.reshape(-1)[77] ^= 1 << 5
    got = Runner(delegate(isa=isa, num_threads=1), flipped.flatbuffer())(case.feeds)
    assert_same(case, got, oracle.evaluate(flipped, case.feeds), 0)
    with pytest.raises(pytest.fail.Exception, match="differ"):
        assert_same(case, got, expected[case.name], 0)


RESIZED = ["residual", "head-integers", "packed", "bmaxpool", "dequantize", "int8", "islands", "gated"]
RESIZED_INT8 = ["stem", "signs", "residual", "bottleneck", "dense-block", "head", "gate", "bytes", "islands"]


@pytest.mark.parametrize(
    "name", [*(f"chain-{name}" for name in RESIZED), *(f"int8-chain-{name}" for name in RESIZED_INT8)]
)
def test_batch_changes(name, isa, delegate):
    """1, 3 and 1 pictures again, and once more without a change."""
    case = BY_NAME[name]
    run = Runner(delegate(isa=isa, num_threads=2), case.graph.flatbuffer())
    source = Source(f"batches of {name}")
    for batch in (1, 3, 1, 1, 2):
        feeds = [source.integers(-9, 10, (batch, *feed.shape[1:])).astype(feed.dtype) for feed in case.feeds]
        assert_same(case, run(feeds), oracle.evaluate(case.graph, feeds), 0)


def test_image_size_changes(isa, delegate):
    case = BY_NAME["chain-two-consumers"]
    run = Runner(delegate(isa=isa, num_threads=2), case.graph.flatbuffer())
    for size in ((5, 5), (9, 2), (1, 1), (20, 31)):
        feeds = [Source(str(size)).floats(2, *size, 32)]
        assert_same(case, run(feeds), oracle.evaluate(case.graph, feeds), 0)


def test_inputs_change_between_runs(isa, delegate):
    """Nothing of one run is left in the next."""
    case = BY_NAME["chain-residual-swapped"]
    run = Runner(delegate(isa=isa, num_threads=2), case.graph.flatbuffer())
    source = Source("runs")
    for _ in range(4):
        feeds = [source.floats(*feed.shape) for feed in case.feeds]
        assert_same(case, run(feeds), oracle.evaluate(case.graph, feeds), 0)


def test_two_interpreters_share_a_delegate(isa, delegate, expected):
    """Two graphs on one delegate, each in a thread of its own."""
    shared = delegate(isa=isa, num_threads=2)
    names = "chain-residual", "chain-large"
    runners = [Runner(shared, BY_NAME[name].graph.flatbuffer()) for name in names]
    failures = []

    def work(name, run):
        try:
            for _ in range(25):
                assert_same(BY_NAME[name], run(BY_NAME[name].feeds), expected[name], 0)
        except BaseException as error:  # pytest's own failures too, which would end the thread unseen
            failures.append(error)

    workers = [threading.Thread(target=work, args=each) for each in zip(names, runners)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures[0]


def test_interpreter_outlives_another_on_its_delegate(isa, delegate, expected):
    shared = delegate(isa=isa, num_threads=2)
    kept, name = Runner(shared, BY_NAME["chain-residual"].graph.flatbuffer()), "chain-residual"
    for other in ("chain-packed", "chain-large"):
        assert_same(
            BY_NAME[other], Runner(shared, BY_NAME[other].graph.flatbuffer())(BY_NAME[other].feeds), expected[other], 0
        )
        gc.collect()
    assert_same(BY_NAME[name], kept(BY_NAME[name].feeds), expected[name], 0)


def _resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _threads():
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc to see the process's memory")
@pytest.mark.parametrize("shares", [False, True], ids=["delegate of its own", "shared delegate"])
def test_create_and_destroy_leak_nothing(shares, isa, delegate):
    """2 MiB of weights and values each time: 60 leaked rounds would be 120 MiB."""
    source = Source("leak")
    graph = Graph()
    x = graph.input((1, 32, 32, 256))
    ones = np.ones(512, np.float32)
    y = graph.bconv(graph.quantize(x), source.bits(512, 3, 3, 256), 256, ones, ones, padding=SAME)
    graph.output(graph.quantize(y))
    feeds = [np.zeros((1, 32, 32, 256), np.float32)]
    shared = delegate(isa=isa, num_threads=2) if shares else None

    def round_trip():
        Runner(shared or delegate(isa=isa, num_threads=2), graph.flatbuffer())(feeds)
        gc.collect()

    for _ in range(8):
        round_trip()
    before, threads = _resident_bytes(), _threads()
    for _ in range(60):
        round_trip()
    assert _resident_bytes() - before < 12 << 20
    assert _threads() <= threads
