"""Threads for calls that can hang, as any libvirt call can for half a minute.

Theory of operation: a thread inside libvirt cannot be cancelled, so a hung call costs
a thread until the connection's keep-alive frees it. Two rules keep the rest going:
one call per domain at a time (so one migrating domain costs one thread, not all), and
a pool of its own for calls about no domain. The threads are daemon threads: a process
that must end does not wait for them.
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


class Pool:
    """Runs calls in threads, one at a time per key, in order of arrival.

    A call must post its own outcome and raise nothing. One that raises all the same is
    a mistake of ours: it is logged, and neither its line nor the thread ends with it.

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
        """Run `work` after what waits for the same key.

        Args:
            key: what the call is about; calls with the same key never overlap.
            kind: a call that waits already makes another of its kind superfluous.
            work: the call.
        """
        with self._lock:
            line = self._waiting.get(key)
            if line is None:
                self._waiting[key] = deque([(kind, work)])
                self._ready.put(key)
            # The first in line may have begun, and may have seen an older world.
            elif all(kind != waiting for waiting, _ in list(line)[1:]):
                line.append((kind, work))

    def stop(self) -> None:
        """Let the threads end after what they are doing; does not wait."""
        for _ in self._threads:
            self._ready.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait until all threads have ended after `stop`; say whether they have."""
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
                logger.exception("call failed in an unforeseen way call=%s", kind)
            with self._lock:
                line = self._waiting[key]
                line.popleft()
                if line:
                    self._ready.put(key)
                else:
                    del self._waiting[key]
