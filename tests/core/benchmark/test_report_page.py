"""The page of a report: whole, escaped, light, and right in a browser without a network."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browser import NEEDS_CHROMIUM, chromium, measured
from written_results import device_report, failed_row, make_report, make_row

from bopkit.benchmark import BenchmarkReport
from bopkit.benchmark.job import Timing
from bopkit.benchmark.reports import Gain, build_report, compare_lines, merge_reports, render_page, scatter_file
from bopkit.benchmark.reports.charts import latency_bars
from bopkit.benchmark.results import LayerBytes, Protocol, StepTime
from bopkit.files import write_json

EVIL = "".join(
    (
        "</title><script>document.title='pwned'</script><img src=//evil.example/x onerror=alert(1)>",
        "'\"&\x00\x1b\ud800{{7*7}}",
    )
)
MANY = tuple(f"class {index}" for index in range(1000))
VOID = {"meta", "br", "hr", "img", "input", "link"}


def many_rows() -> BenchmarkReport:
    return make_report(
        *(make_row(f"net{i}.tflite", 1.0 + i, 0.5 + i / 100, 10**5 * (i + 1), seed=i) for i in range(40))
    )


def evil_report() -> BenchmarkReport:
    row = make_row(
        EVIL,
        device=EVIL,
        runtime=EVIL,
        settings={EVIL: EVIL},
        notes=[EVIL],
        architecture=EVIL,
        preprocessing=EVIL,
        governor=EVIL,
        model_sha256=EVIL,
        steps=[StepTime(EVIL, 1.0)],
        layers=[LayerBytes(EVIL, 5, True)],
    )
    failed = failed_row("b", notes=[EVIL])
    failed.error = failed.hint = EVIL
    report = make_report(row, failed, make_row("c.tflite"), class_names=(EVIL,) * 10, dataset=EVIL, split=EVIL)
    (environment,) = report.environments.values()
    return make_report(*report.rows, class_names=(EVIL,) * 10, environments={EVIL: environment})


def odd_report() -> BenchmarkReport:
    """Figures that no honest benchmark has, but a file can."""
    rows = [
        make_row("zero", latency_ms_p50=0.0, size_bytes=0, samples_ms=[0.0] * 9, steps=[StepTime("s", 0.0)]),
        make_row(
            "negative", latency_ms_p50=-1.0, size_bytes=-5, samples_ms=[-1.0, 2.0], layers=[LayerBytes("l", -3, True)]
        ),
        make_row("large", latency_ms_p50=1e18, size_bytes=10**18, top1=1.0, top1_interval=(-3.0, 7.0), floor_bytes=0),
        make_row("tiny", latency_ms_p50=1e-300, samples_ms=[1e-300, 1e-290, 1e18], latency_ms_p99=None),
        make_row("far", confusion=[(-1, 10**9, 3)], class_top1=[None, None]),
    ]
    return make_report(*rows)


CASES = {
    "devices": device_report,
    "one row": lambda: make_report(make_row("a.tflite")),
    "failed only": lambda: make_report(failed_row("a.tflite"), failed_row("b.tflite")),
    "no rows": lambda: make_report(),
    "no accuracy": lambda: make_report(make_row("a.tflite", top1=None), make_row("b.tflite", 2.0, top1=None)),
    "no samples": lambda: make_report(make_row("a.tflite", samples_ms=[], steps=[], layers=[])),
    "equal samples": lambda: make_report(make_row("a.tflite", samples_ms=[2.0] * 50, latency_ms_p50=2.0)),
    "1000 classes": lambda: make_report(make_row("a.tflite", classes=1000), class_names=MANY),
    "40 rows": many_rows,
    "evil": evil_report,
    "odd": odd_report,
}


class Tags(html.parser.HTMLParser):
    """Tags and attributes of a page, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    return tags


@pytest.mark.parametrize("case", CASES)
def test_a_page_is_whole_and_needs_nothing_from_outside(case: str) -> None:
    page = render_page(merge_reports([("a.json", CASES[case]())]))
    tags = parsed(page)
    names = {tag for tag, _ in tags.tags}
    assert not names & {"script", "link", "img", "image", "iframe", "object", "use", "foreignobject", "base", "form"}
    for tag, attributes in tags.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert (attributes.get("href") or "#").startswith("#") and not attributes.get("src")
    assert not re.search(r"@import|url\(|nan%|inf%|NaN|Infinity", page)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in page
    ids = [attributes["id"] for _, attributes in tags.tags if "id" in attributes]
    links = [str(attributes["href"])[1:] for _, attributes in tags.tags if "href" in attributes]
    assert len(set(ids)) == len(ids) and set(links) <= set(ids)


def test_every_figure_that_is_asked_for_is_in_the_page() -> None:
    text = parsed(render_page(merge_reports([("a.json", device_report())]))).text
    for part in (
        *("Summary", "What to ship", "Accuracy against latency", "Sizes", "Distributions", "Time by operator"),
        *(
            "Bytes by layer",
            "Classes",
            "Most frequent confusions",
            "Environment and protocol",
            "conv 3x3",
            "Cortex-A76",
        ),
        *(
            "It is not a complete TensorFlow Lite model. Export it again.",
            "48 to 61 °C",
            "ondemand",
            "1.05 x the floor",
        ),
        *("71.4 %", "3.00 MB", "Example CPU 3000"),
    ):
        assert part in text, part


def test_a_page_is_light() -> None:
    four = make_report(
        *(make_row(f"{i}.tflite", i + 1.0, seed=i, runs=20_000, classes=1000) for i in range(4)), class_names=MANY
    )
    assert len(render_page(merge_reports([("", four)])).encode()) < 150_000
    assert len(render_page(merge_reports([("", many_rows())])).encode()) < 500_000


def test_a_strangers_text_is_text() -> None:
    page = render_page(merge_reports([(EVIL, evil_report())]), title=EVIL)
    assert page.count("<script") == 0 and "\x00" not in page and "\x1b" not in page and "49}}" not in page
    assert page.encode()  # no half of a surrogate pair
    assert "&lt;script&gt;" in page


def test_changes_and_rules_are_in_the_page(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    write_json(old, make_report(make_row("a.tflite", 5.0)).to_dict())
    write_json(new, make_report(make_row("a.tflite", 6.0), date="2026-11-22T00:00:00").to_dict())
    text = parsed(build_report([new, old], old, ["latency_ms_p50 > 1.05x"]).html()).text
    assert "Rules that failed" in text and "+20.0 %" in text and "Earlier measurements" in text
    assert compare_lines(merge_reports([]).lines, ()) == []


def test_accuracy_of_another_result_is_in_the_page() -> None:
    file = "ab" * 32
    accuracy = make_report(make_row("a.tflite", 5.0, 0.931, model_sha256=file), make_row("b.tflite", 9.0, 0.95))
    rows = [make_row("a.tflite", 4.0 + index, None, threads=index, model_sha256=file) for index in (1, 2)]
    latency = make_report(*rows, date="2026-11-22T00:00:00+00:00")
    page = parsed(render_page(merge_reports([("i.json", accuracy), ("dev.json", latency)]))).text
    assert "Accuracy against latency" in page and "On local, cifar10 test, 2000 pictures" in page
    assert "1, 3 a.tflite: Accuracy from i.json (2026-11-20), measured on the same file (same SHA-256)." in page
    assert page.count("93.10 %") >= 4 and "plane" in page.partition("Most frequent confusions")[2]


def test_only_what_is_in_the_page_is_explained() -> None:
    rows = [make_row("a.tflite", floor_bytes=None), make_row("b.tflite", 7.0, floor_bytes=None)]
    protocol = Protocol((1,), Timing(cpu_mask="f0"), date="2026-11-22T00:00:00")
    bare = parsed(render_page(merge_reports([("", make_report(*rows, protocol=protocol))]))).text
    assert "floor" not in bare and "agreement" not in bare and "cores4-7" in bare
    rows[1].floor_bytes, rows[1].top1_agreement = 4_000_000, 0.9
    text = parsed(render_page(merge_reports([("", make_report(*rows))]))).text
    assert "x floor: size divided by the 1-bit floor" in text and "The line across a bar is the 1-bit floor" in text
    assert "agreement: same top-1 as a.tflite" in text and "cores4-7" not in text


def test_a_tie_is_no_defeat() -> None:
    rows = [make_row("a.tflite", 0.121, None, seed=1), make_row("b.tflite", 0.1211, None, seed=2)]
    text = parsed(render_page(merge_reports([("", make_report(*rows))]))).text
    assert "ties with" in text and "as fast within the noise and of the same size" in text


def test_equal_rows_and_gains_of_nothing_are_ties() -> None:
    rows = [make_row(f"net ({variant})", 1.0, None, variant=variant) for variant in ("packed", "int8 twin")]
    gains = [Gain("net", "int8 twin", "local", 1, 1.0, 0.999)]
    page = render_page(merge_reports([("", make_report(*rows))]), gains=gains)
    assert "; a tie with 2" in parsed(page).text and "; a tie with 1" in parsed(page).text
    assert '<td class="number" data-of="faster by">tie</td>' in page


def test_a_phone_gets_the_names_of_the_numbers_in_its_chart() -> None:
    page = render_page(merge_reports([("", device_report())]))
    (names,) = re.findall('<ul class="names">(.*?)</ul>', page)
    assert re.findall("<b>([0-9]+)</b>", names) == [str(number) for number in range(1, 11)]
    wide, narrow = (
        page.partition(f'<div class="{kind}-chart">')[2].partition("</div>")[0] for kind in ("wide", "narrow")
    )
    assert ">1<" in narrow and "binarynet.tflite, 1 thread<" in wide
    assert not re.search("tspan[^>]*> [a-z]", narrow)


def test_marks_of_the_front_lie_above_the_others() -> None:
    picture = scatter_file(merge_reports([("", device_report())]), "")
    assert picture is not None
    marks = [each.get("class", "") for each in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}path")]
    kinds = [each.split()[0] for each in marks]
    assert kinds.count("open") >= 2 and "open" not in kinds[kinds.index("mark") :]


def test_latencies_are_bars_on_a_scale_of_each_device() -> None:
    bars = latency_bars(merge_reports([("", device_report())]).lines)
    assert {device: len(members) for device, members in bars.items()} == {"local": 4, "ssh://pi@board": 6}
    for members in bars.values():
        charts = [{each.tag: each for each in bar.chart} for bar in members]
        widths = [float(chart["rect"].get("width", "")[:-1]) for chart in charts]
        limits = [float(chart["line"].get("x1", "")[:-1]) for chart in charts]
        assert max(limits) == 100 and all(width < limit for width, limit in zip(widths, limits, strict=True))


def test_ticks_that_lie_close_are_told_apart() -> None:
    rows = [
        make_row("a.tflite", 0.1, None, latency_ms_p50=0.1),
        make_row("b.tflite", 0.1005, None, latency_ms_p50=0.1005),
    ]
    picture = scatter_file(merge_reports([("", make_report(*rows))]), "")
    assert picture is not None
    texts = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    ticks = [str(each.text) for each in texts if each.get("y") == "373"]
    assert len(ticks) >= 3 and len(set(ticks)) == len(ticks)


def test_gains_are_in_the_page() -> None:
    rows = [
        make_row(f"net ({v})", ms, None, size, variant=v)
        for v, ms, size in (("packed", 1.0, 100), ("int8 twin", 0.5, 400))
    ]
    gains = [Gain("net", "int8 twin", "local", 1, 4.0, 0.5)]
    page = render_page(merge_reports([("", make_report(*rows))]), gains=gains)
    text = parsed(page).text
    assert "What binarization buys" in text and "4.00 x" in text and "Size against latency" in text
    assert '<td class="number bad" data-of="faster by">0.50 x' in page


def test_the_chart_alone_is_svg_by_itself() -> None:
    picture = scatter_file(merge_reports([("", device_report())]), "Title <1>")
    assert picture is not None
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Title <1>" in texts and "ssh://pi@board" in texts and "top-1 (%)" in texts
    assert scatter_file(merge_reports([("", make_report(failed_row("a")))]), "") is None


def long_names() -> BenchmarkReport:
    names = [f"runs/imagenet/birealnet/2026-11-{day}_a-name-of-some-length/model-file.tflite" for day in (29, 30)]
    layers = [LayerBytes(f"bi-real-net/block-{number}/conv/FusedBatchNormV3", 10**number, True) for number in range(6)]
    return make_report(*(make_row(name, layers=layers, device="ssh://user@board-of-the-lab") for name in names))


def with_gains() -> str:
    rows = [make_row(f"net ({variant})", 1.0, None, variant=variant) for variant in ("packed", "int8 twin")]
    return render_page(
        merge_reports([("", make_report(*rows))]), gains=[Gain("net", "int8 twin", "local", 1, 4.0, 0.5)]
    )


INTEGRATION = pytest.mark.integration
BROWSED = {
    "long": lambda: render_page(merge_reports([("results-of-a-day/on-the-board.json", long_names())])),
    "gains": with_gains,
    **{case: lambda case=case: render_page(merge_reports([("a.json", CASES[case]())])) for case in ("devices", "evil")},
}


@pytest.mark.integration
@NEEDS_CHROMIUM
@pytest.mark.parametrize("case", ["devices", "evil"])
def test_chromium_shows_the_page_without_network_or_complaint(case: str, tmp_path: Path) -> None:
    dom, complaints, urls = shown(render_page(merge_reports([("a.json", CASES[case]())])), tmp_path)
    tags = parsed(dom)
    assert "Environment and protocol" in tags.text and "pwned" not in re.findall("<title>.*?</title>", dom)[0]
    assert not [tag for tag, _ in tags.tags if tag in ("script", "img")]
    assert not complaints and not urls


@pytest.mark.integration
@NEEDS_CHROMIUM
def test_chromium_would_tell_of_a_request_and_of_an_error(tmp_path: Path) -> None:
    page = render_page(merge_reports([("a.json", device_report())]))
    outside = '<img src="http://pictures.test/a.png">'
    _, complaints, urls = shown(page.replace("</body>", f"{outside}</body>"), tmp_path / "kept")
    assert complaints and not urls, "the page's policy did not stop it"
    _, _, urls = shown(
        page.replace("</body>", f"{outside}</body>").replace("default-src 'none';", ""), tmp_path / "gone"
    )
    assert urls == {"http://pictures.test/a.png"}


@NEEDS_CHROMIUM
@pytest.mark.parametrize("case", [pytest.param(case, marks=() if case == "long" else INTEGRATION) for case in BROWSED])
def test_a_phone_shows_all_of_a_page(case: str, tmp_path: Path) -> None:
    """Nothing is wider than 390 pixels, and no part scrolls by itself; no name is broken that has room in a line."""
    found = measured(BROWSED[case](), 390, tmp_path)
    assert found["cut"] == found["scrolls"] == []
    assert case == "evil" or found["broken"] == []


@pytest.mark.integration
@NEEDS_CHROMIUM
def test_a_desktop_breaks_no_name(tmp_path: Path) -> None:
    found = measured(BROWSED["long"](), 1280, tmp_path)
    assert found == {"cut": [], "scrolls": [], "broken": []}


def shown(page: str, folder: Path) -> tuple[str, list[str], set[str]]:
    """What Chromium makes of a page: its DOM, what its console says, and what the page wants from the network."""
    folder.mkdir(exist_ok=True)
    path, log = folder / "page.html", folder / "net.json"
    path.write_text(page)
    result = chromium("--dump-dom", "--enable-logging=stderr", f"--log-net-log={log}", path.as_uri(), home=folder)
    complaints = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    urls = set(re.findall(r'"url":"(https?://[^"]+)"', log.read_text()))
    # The browser itself calls home, whatever it is told.
    return result.stdout, complaints, {url for url in urls if not re.match(r"https?://[\w.]*google(apis)?\.com/", url)}
