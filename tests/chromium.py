"""A headless Chromium for tests, spoken to over a pipe in the DevTools protocol.

No port is opened and nothing is installed beside the browser: messages are JSON with a zero byte
after each, on its file descriptors 3 and 4 (`--remote-debugging-pipe`).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-pipe",
)
#: Puts its ends of two pipes where the browser looks for them, and becomes the browser.
_START = """\
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
#: Seconds without an answer after which the browser is taken for dead.
PATIENCE = 60


def program() -> str | None:
    """The installed browser, if there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Tab:
    """A tab of a browser: it opens files, and keeps what they ask of the network or complain of."""

    def __init__(self, into: int, out_of: int) -> None:
        self._into, self._out_of = into, out_of
        self._buffer, self._count, self._session = b"", 0, ""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(self, page: Path, *, width: int, dark: bool) -> None:
        """Show a page in a window of a width, and wait until it is drawn."""
        self.complaints, self.requests = [], []
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.prefer(dark=dark)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._until("Page.loadEventFired")
        frames = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
        self.call("Runtime.evaluate", expression=frames, awaitPromise=True)

    def prefer(self, *, dark: bool, media: str = "") -> None:
        """Light or dark, as the reader's system asks for, on a screen or on paper ('print')."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme], media=media)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; None if it has none."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ValueError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """The page as it prints."""
        options = {"printBackground": True, "preferCSSPageSize": True}
        return base64.b64decode(self.call("Page.printToPDF", **options)["data"])

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command, and return its answer.

        Raises:
            ValueError: if the browser refuses it.
        """
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        answer = self._until(self._count)
        if "error" in answer:
            raise ValueError(f"{method}: {answer['error']}")
        return answer["result"]

    def _until(self, wanted: int | str) -> Any:
        """Read messages until the answer with a number, or an event of a name."""
        while True:
            message = self._read()
            self._note(message)
            if wanted in (message.get("id"), message.get("method")):
                return message

    def _note(self, message: Any) -> None:
        what, said = message.get("method"), message.get("params", {})
        if what in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(said))
        if what == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])

    def _read(self) -> Any:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._out_of], [], [], PATIENCE)
            part = os.read(self._out_of, 2**20) if ready else b""
            if not part:
                raise TimeoutError("expected an answer of the browser, found none")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with a tab; `profile` is an empty folder for it."""
    found = program()
    if found is None:
        raise FileNotFoundError(f"expected one of {', '.join(PROGRAMS)}, found none")
    (its_in, into), (out_of, its_out) = os.pipe(), os.pipe()
    ends = (str(its_in), str(its_out))
    started = [sys.executable, "-c", _START, *ends]
    command = [*started, found, *FLAGS, f"--user-data-dir={profile}"]
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen(command, pass_fds=(its_in, its_out), stdout=log, stderr=log)
    os.close(its_in)
    os.close(its_out)
    try:
        tab = Tab(into, out_of)
        yield tab
        _close(tab, process)
    finally:
        process.kill()
        process.wait()
        os.close(into)
        os.close(out_of)


def _close(tab: Tab, process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, so that its own processes end with it."""
    tab._session = ""
    tab.call("Browser.close")
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
