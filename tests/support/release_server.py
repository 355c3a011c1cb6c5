"""Plays the server of a release on this machine: files by their paths, and what can go wrong with each request."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ReleaseServer:
    """A server on the loopback device, within a `with` block.

    Attributes:
        files: Content by path, each with a slash in front.
        plan: What is done to the next requests, one each, then nothing more. A number is a status to answer with;
            `cut N`: close after N bytes of the answer; `stall N`: after N bytes send nothing more; `slow`: wait for
            `released` in the middle; `whole`: ignore Range; `to PATH`: redirect; `says N`: claim N bytes; `unsized`:
            claim nothing.
        ranges: The Range header of each request so far, None for none.
        released: Set to let slow answers go on.
        address: Of the root, without a slash at the end.
    """

    def __init__(self, files=None):
        self.files = dict(files or {})
        self.plan = []
        self.ranges = []
        self.released = threading.Event()

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.release = self
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):  # noqa: N802  its name in http.server
        self.close_connection = True
        release = self.server.release
        asked = self.headers["Range"]
        release.ranges.append(asked)
        what, _, value = str(release.plan.pop(0) if release.plan else "").partition(" ")
        content = release.files.get(self.path)
        if what.isdecimal() or content is None:
            self.send_response(int(what or 404))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if what == "to":
            self.send_response(302)
            self.send_header("Location", value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and what != "whole" else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if what != "unsized":
            self.send_header("Content-Length", value if what == "says" else str(len(content) - start))
        self.end_headers()
        end = start + int(value) if what in ("cut", "stall") else len(content)
        middle = (start + end) // 2 if what == "slow" else end
        self.wfile.write(content[start:middle])
        self.wfile.flush()
        if what in ("slow", "stall"):
            release.released.wait(60)
        self.wfile.write(content[middle:end])
