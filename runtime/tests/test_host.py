"""Graphs that the sweep has not, in the host."""

import case_file
import native
import numpy as np
import pytest
from models import SAME, VALID, Graph

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="session")
def host():
    return native.build_checked("host")


def _integers(*shape):
    return RANDOM.integers(-3, 4, shape).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize("signs", ["none", "before", "after"])
def test_large_map_that_a_pool_reads(signs, padding, threads, host, tmp_path):
    """A pool computes it row by row, unless somebody reads its signs too."""
    graph = Graph()
    x = graph.input((2, 48, 64, 3))
    y = graph.conv(x, _integers(50, 3, 3, 3), _integers(50))
    outputs = []
    for step in ("before", "pool", "after"):
        if step == "pool":
            outputs.append(graph.pool("MAX_POOL_2D", y, (3, 3), (2, 2), padding))
        elif step == signs:
            outputs.append(graph.quantize(y))
    graph.output(*outputs, graph.quantize(graph.relu(outputs[signs == "before"])))
    body = case_file.body(graph, [case_file.oracle_run(graph, [_integers(2, 48, 64, 3)])])
    (tmp_path / "cases").write_bytes(case_file._blob(b"large map") + case_file._blob(body))
    done = native.run([host, "--threads", threads, tmp_path / "cases"])
    assert done.returncode == 0, done
