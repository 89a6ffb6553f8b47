# SPDX-License-Identifier: Apache-2.0
"""Threads for calls that can hang, as any libvirt call can for half a minute.

Theory of operation: a thread inside libvirt cannot be cancelled, so a hung call
occupies a thread until the connection's keep-alive ends it. Two rules keep the others
available: one call per domain at a time (a hung domain occupies one thread, not all),
and a separate pool for calls that are not about one domain. The threads are daemon
threads, so that the process can exit without waiting for them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Work = Callable[[], object]

logger = logging.getLogger(__name__)


class CallPool:
    """Runs calls in threads, one at a time per key, in order of arrival.

    A call must post its own outcome and must not raise. An exception is a bug; it is
    logged, and the thread continues with the next call.

    Synchronization: `submit` and `stop` may be called from any thread.
    """

    def __init__(self, name: str, *, size: int) -> None:
        self._ready: queue.SimpleQueue[Hashable | None] = queue.SimpleQueue()
        self._waiting: dict[Hashable, deque[tuple[str, Work]]] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True)
            for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: Hashable, kind: str, work: Work) -> None:
        """Run `work` after the waiting calls with the same key.

        Args:
            key: what the call is about; calls with the same key never overlap.
            kind: ignored if a call of the same kind already waits.
            work: the call.
        """
        with self._lock:
            calls = self._waiting.get(key)
            if calls is None:
                self._waiting[key] = deque([(kind, work)])
                self._ready.put(key)
            # The first one may have begun, with a state that is outdated now.
            elif all(kind != waiting for waiting, _ in list(calls)[1:]):
                calls.append((kind, work))

    def stop(self) -> None:
        """Let the threads exit after their current calls; does not wait."""
        for _ in self._threads:
            self._ready.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait until all threads have exited after `stop`; return whether they have."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self) -> None:
        while (key := self._ready.get()) is not None:
            with self._lock:
                kind, work = self._waiting[key][0]
            try:
                work()
            except Exception:
                logger.exception("unexpected exception call=%s", kind)
            with self._lock:
                calls = self._waiting[key]
                calls.popleft()
                if calls:
                    self._ready.put(key)
                else:
                    del self._waiting[key]
