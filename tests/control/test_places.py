# SPDX-License-Identifier: Apache-2.0
"""Places at a socket are shared by users."""

from __future__ import annotations

import pytest

from orchestrator.control.places import Places

OWN = 42


class Socket:
    """64 places, and the holders that were ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.places: Places[str] = Places(
            64, per_user=16, own_uid=OWN, end=self.ended.append
        )

    def fill(self, held: dict[int, int]) -> None:
        for uid, count in held.items():
            for number in range(count):
                assert self.places.take(f"{uid}-{number}", uid)


@pytest.mark.parametrize(
    ("uid", "held", "may"),
    [
        (0, {}, True),
        (0, {0: 63}, True),
        (0, {0: 64}, False),
        (0, {7: 16, 8: 16, 9: 16}, True),
        (OWN, {0: 40, OWN: 20}, True),
        (7, {7: 15}, True),
        (7, {7: 16}, False),
        (7, {8: 16, 9: 16, 10: 15}, True),
        (7, {0: 48}, False),
        (7, dict.fromkeys(range(100, 148), 1), False),
    ],
)
def test_a_user_s_places_are_limited(
    uid: int,
    held: dict[int, int],
    may: bool,  # noqa: FBT001
) -> None:
    socket = Socket()
    socket.fill(held)
    assert socket.places.take("new", uid) is may
    assert socket.ended == []


def test_users_that_hold_all_they_may_lock_no_other_user_out() -> None:
    socket = Socket()
    socket.fill({7: 16, 8: 16, 9: 16})
    assert [socket.places.take(f"new-{n}", 10) for n in range(13)] == [
        *([True] * 12),
        False,
    ]
    assert len(socket.places) == 48
    # the oldest ones, of the client that holds the most at that time
    assert sorted(socket.ended) == sorted(
        f"{uid}-{n}" for uid in (7, 8, 9) for n in range(4)
    )


def test_a_place_is_free_when_its_holder_leaves() -> None:
    socket = Socket()
    socket.fill({7: 16})
    socket.places.leave("7-3")
    socket.places.leave("7-3")
    assert socket.places.take("new", 7)
    assert not socket.places.take("another", 7)
