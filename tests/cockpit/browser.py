# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, driven over the pipe of its DevTools protocol.

Usage::

    with Browser() as browser:
        browser.open("http://127.0.0.1:9090/")
        browser.wait_for_text("h1", "VM power")
        browser.click("button")
        browser.press("Escape")
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

from tests.rig.waiting import DEADLINE_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_PROGRAM = "chromium"
# The pipe is descriptors 3 and 4 by definition.
_SCRIPT = 'exec "$@" 3<&{commands} 4>&{answers} {commands}<&- {answers}>&-'
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--hide-scrollbars",
    "--no-first-run",
)
_KEYS = {
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "Escape": {"code": "Escape", "windowsVirtualKeyCode": 27},
}
_TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded")


class Browser:
    """One window with one page.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self._home = tempfile.mkdtemp(prefix="vmp-chromium-", dir="/tmp")
        commands_end, self._commands = os.pipe()
        self._answers, answers_end = os.pipe()
        script = _SCRIPT.format(commands=commands_end, answers=answers_end)
        profile = f"--user-data-dir={self._home}/profile"
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "-", _PROGRAM, *_OPTIONS, profile],
            pass_fds=(commands_end, answers_end),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._home},
        )
        os.close(commands_end)
        os.close(answers_end)
        self._rest = b""
        self._calls_total = 0
        self._target = ""
        self._session: str | None = None
        self.trouble: list[str] = []
        """Exceptions and errors that the page logged."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._commands)  # it ends with its pipe
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)
        shutil.rmtree(self._home, ignore_errors=True)

    def open(self, url: str) -> None:
        """Go to a page in a new tab; the last one, and what it logged, is forgotten."""
        last, self._session = self._target, None
        self._target = self._call("Target.createTarget", url="about:blank")["targetId"]
        if last:
            self._call("Target.closeTarget", targetId=last)
        attached = self._call(
            "Target.attachToTarget", targetId=self._target, flatten=True
        )
        self._session = attached["sessionId"]
        self.trouble.clear()
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self.resize(1200, 900)
        self._call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or of its promise.

        Raises:
            RuntimeError: it throws.
        """
        answer = self._call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression[:200]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text of the first such element, on one line; empty: no element."""
        found = self.evaluate(
            f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"
        )
        return " ".join(found.split())

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until the first such element contains a text.

        Raises:
            AssertionError: it does not; the error shows the page.
        """
        try:
            wait_for(lambda: text in self.text(selector), f"{text!r} in {selector}")
        except TimeoutError as error:
            page = self.text("body")
            raise AssertionError(f"{error}; {self.trouble}; page:\n{page}") from None

    def click(self, selector: str) -> None:
        """Click the first such element, once there is one."""
        quoted = json.dumps(selector)
        wait_for(
            lambda: self.evaluate(f"document.querySelector({quoted}) !== null"),
            selector,
        )
        self.evaluate(f"document.querySelector({quoted}).click()")

    def enter(self, selector: str, value: str) -> None:
        """Set the value of a control."""
        self.evaluate(
            f"(it => {{ it.value = {json.dumps(value)};"
            "it.dispatchEvent(new Event('input', {bubbles: true})); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def press(self, key: str) -> None:
        """Press a key."""
        more = {"key": key, **_KEYS[key]}
        self._call("Input.dispatchKeyEvent", type="keyDown", **more)
        more.pop("text", None)
        self._call("Input.dispatchKeyEvent", type="keyUp", **more)

    def tab_to(self, text: str) -> None:
        """Press Tab until the element with this name has the focus.

        Raises:
            AssertionError: no such element gets it.
        """
        passed = []
        for _ in range(100):
            self.press("Tab")
            focused = self.evaluate(
                "(it => it.getAttribute('aria-label') ?? it.innerText ?? '')"
                "(document.activeElement)"
            )
            if focused == text:
                return
            passed.append(focused)
        raise AssertionError(f"{text!r} is not among {passed}")

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in pixels."""
        size = {"width": width, "height": height}
        self._call(
            "Emulation.setDeviceMetricsOverride",
            **size,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """Prefer the color scheme `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def picture(self, file: Path) -> None:
        """Write a picture of the whole page, as PNG."""
        answer = self._call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True
        )
        file.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **params: object) -> dict[str, Any]:
        self._calls_total += 1
        number = self._calls_total
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        # A message may be larger than a pipe: axe is.
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self._receive()
            if answer.get("method") in _TROUBLE:
                self.trouble.append(json.dumps(answer["params"]))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while b"\0" not in self._rest:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                raise TimeoutError(f"{_PROGRAM} does not answer")
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                raise EOFError(f"{_PROGRAM} ended")
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer
