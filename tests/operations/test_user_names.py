# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import threading

from orchestrator.control.service import Peer
from orchestrator.operations.user_names import UserNames


def describe(names: dict[int, str], uid: int) -> str:
    async def run() -> str:
        users = UserNames(lambda uid: names.get(uid, ""))
        first = await users.describe(Peer(9, uid, 0))
        assert await users.describe(Peer(9, uid, 0)) == first
        users.stop()
        return first

    return asyncio.run(run())


def test_a_user_is_reported_with_name_number_and_process() -> None:
    assert describe({0: "root"}, 0) == "root (uid 0, pid 9)"
    assert describe({}, 1234) == "uid 1234 (pid 9)"


def test_a_directory_service_that_hangs_delays_a_change_only_briefly() -> None:
    is_answering = threading.Event()

    def hang(_uid: int) -> str:
        is_answering.wait(30)
        return "late"

    async def run() -> tuple[str, str]:
        users = UserNames(hang)
        before = await users.describe(Peer(9, 7, 0))
        is_answering.set()
        async with asyncio.timeout(30):
            while "late" not in (after := await users.describe(Peer(9, 7, 0))):
                pass
        users.stop()
        return before, after

    assert asyncio.run(run()) == ("uid 7 (pid 9)", "late (uid 7, pid 9)")


def test_the_system_s_users_are_known() -> None:
    async def run() -> str:
        users = UserNames()
        try:
            return await users.describe(Peer(9, 0, 0))
        finally:
            users.stop()

    assert asyncio.run(run()) == "root (uid 0, pid 9)"
