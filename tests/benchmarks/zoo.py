"""The table of docs/zoo.md: every network of the catalogue beside its full-precision twins, in one run.

    python tests/benchmarks/zoo.py [NETWORK ...] [--runs 50]

Untrained networks and their float32 and int8 twins in LiteRT, the packed ones with the native runtime, on one thread:
median milliseconds of one picture, as `bopkit compare` measures them. Published accuracies are the publishers'.
"""

import argparse
import datetime

from bopkit import compare_models, list_models
from bopkit.text import size_text

HEADINGS = ("network", "published top-1", "packed", "ms", "int8 twin", "ms", "smaller", "faster", "float32 twin, ms")


def row(model, runs):
    """The cells of a network."""
    report = compare_models([model["name"]], runs=runs).report
    packed, float32, int8 = report.rows
    for each in report.rows:
        assert each.error is None, f"{each.artifact}: {each.error}"
    published = model["published"][0] if model["published"] else None
    return (
        f"`{model['name']}`",
        f"{published['top1_percent']} % ({published['source']})" if published else "-",
        size_text(packed.size_bytes),
        f"{packed.latency_ms_p50:.2f}",
        size_text(int8.size_bytes),
        f"{int8.latency_ms_p50:.2f}",
        f"{int8.size_bytes / packed.size_bytes:.1f} x",
        f"{int8.latency_ms_p50 / packed.latency_ms_p50:.1f} x",
        f"{float32.latency_ms_p50:.2f}",
    ), report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="default: all")
    parser.add_argument("--runs", type=int, default=50)
    arguments = parser.parse_args()
    models = [model for model in list_models() if not arguments.networks or model["name"] in arguments.networks]
    print("|", " | ".join(HEADINGS), "|")
    print("|---|---|", "|".join(["---:"] * (len(HEADINGS) - 2)), "|", sep="")
    for model in models:
        cells, report = row(model, arguments.runs)
        print("|", " | ".join(cells), "|", flush=True)
    (environment,) = report.environments.values()
    print(f"{environment.cpu}, {environment.logical_cores} cores, {datetime.date.today()}")


if __name__ == "__main__":
    main()
