"""What Chromium makes of a page, without a network."""

import json
import re
import shutil
import subprocess
from urllib.parse import unquote

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: `apt-get install chromium`")

MEASURE = """
const width = document.documentElement.clientWidth, found = {cut: [], scrolls: [], broken: []};
const text = element => element.tagName + ' ' + element.textContent.trim().slice(0, 40);
for (const element of document.body.querySelectorAll('*')) {
  const rectangle = element.getBoundingClientRect(), style = getComputedStyle(element);
  if (!element.getClientRects().length || element.closest('svg svg')) continue;
  if (rectangle.right > width + 1 || rectangle.left < -1) found.cut.push(text(element));
  if (element.scrollWidth > element.clientWidth + 1 && style.overflowX === 'auto') found.scrolls.push(text(element));
  const isName = element.tagName === 'SPAN' && style.display === 'inline-block' && element.textContent;
  if (isName && rectangle.height > 1.8 * parseFloat(style.lineHeight)) found.broken.push(text(element));
}
if (document.documentElement.scrollWidth > width) found.cut.push('PAGE ' + document.documentElement.scrollWidth);
document.title = encodeURIComponent(JSON.stringify(found));
"""


def measured(page, width_px, home):
    """What of a page is cut off, scrolls by itself, or is a name in several lines, in a window of that width."""
    page = page.replace("default-src 'none'", "script-src 'unsafe-inline'")
    (home / "page.html").write_text(f"{page}<script>{MEASURE}</script>")
    frame = f'<iframe src="page.html" style="width:{width_px}px;height:900px;border:0"></iframe>'
    copy = "<script>onload = () => { document.title = frames[0].document.title }</script>"
    (home / "frame.html").write_text(f"<!doctype html>{frame}{copy}")
    uri = (home / "frame.html").as_uri()
    dom = chromium("--dump-dom", "--allow-file-access-from-files", uri, home=home).stdout
    return json.loads(unquote(re.findall("<title>(.*?)</title>", dom)[0]))


def chromium(*arguments, home):
    """A finished headless browser; a proxy that does not exist stands for no network."""
    settings = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--proxy-server=127.0.0.1:9",
    ]
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = [str(CHROMIUM), *settings, *quiet, f"--user-data-dir={home / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
