# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import HandoffError
from orchestrator.limits import Limits
from orchestrator.monitor.client.row_allocator import DomainRows, RowAllocator
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.link.handoff import MAX_FDS, Handoff
from orchestrator.monitor.link.messages import Message, decode, encode
from orchestrator.monitor.link.table import (
    CHANNEL_ROWS,
    CHANNEL_WORDS,
    GROUP_ROWS,
    REASONS,
    VCPU_ROWS,
    SharedTable,
    Voter,
    channel_at,
    check_row,
    create_table,
    group_at,
    pack_voter,
    unpack_voter,
    vcpu_at,
)
from orchestrator.values.domain import DomainId
from orchestrator.values.frequencies import table_from

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES: list[Message] = [
    commands.Hello(1, 30_000, None, 65_534),
    commands.Hello(1, 30_000, None, None, 20_000, "\x00\xff"),
    commands.DefineGroup(3, table_from([3_001_000, 3_000_000]), Limits(0, 9), row=1),
    commands.DefineGroup(3, table_from([5]), Limits(), True, 5),  # noqa: FBT003
    commands.HandOver(
        3,
        is_taken=True,
        originals=("\x00\xff\n", "schedutil\n"),
        taken_values=("", "userspace"),
        writer="limits",
    ),
    commands.DefineDomain(
        uuid="0",
        is_executing=True,
        is_enforced=False,
        permissions=("queries",),
        generation=456,
        vcpus=(commands.VCpuDefinition(0, None, Limits(0, 9), is_turbo_allowed=True),),
        rows=(7,),
        following=(3, 4),
    ),
    commands.DefineDomain("0", True, False, (), None, ()),  # noqa: FBT003
    commands.SetPolicyVote("0", 1, 2_000_000),
    commands.ForgetDomain("0", (1, 2)),
    commands.Adopt("0", 1, 2, 3, False),  # noqa: FBT003
    commands.WithdrawVotes("0", None, None),
    commands.AnswerPolicy("0", 1, 2, False),  # noqa: FBT003
    reports.EndpointClosed("0", 1, 2, "hung up"),
    reports.ChannelAbused("0", 1, 2, is_garbage=True),
    reports.PolicySent("0", 1, 2, 3, 464, "\x00\xff"),
    reports.PolicyRemoved("0", 1, 2),
    commands.UseLock(),
    commands.Quiesce(),
    commands.Exit(),
    reports.Quiesced(),
]


@pytest.fixture
def pair() -> Iterator[tuple[Handoff, Handoff]]:
    ours, theirs = map(
        Handoff, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    )
    yield ours, theirs
    ours.close()
    theirs.close()


# Messages


def test_messages_of_different_kinds_are_never_equal() -> None:
    one: object = commands.CloseGroup(1)
    other: object = commands.ConfirmRelease(1)
    wanted: object = reports.TakeWanted(1)
    assert (one == other, one != other) == (False, True)
    assert (one == commands.CloseGroup(1), one != commands.CloseGroup(1)) == (
        True,
        False,
    )
    assert wanted != reports.GroupYielded(1)
    assert len({one, other, commands.CloseGroup(1)}) == 2


@pytest.mark.parametrize("message", EXAMPLES)
def test_a_message_arrives_as_it_was(message: Message) -> None:
    assert decode(encode(message)) == message
    assert type(decode(encode(message))) is type(message)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b'["Ready"]',
        b'["Ready",[]]',
        b'["Ready",[1,2]]',
        b'["Ready",[true]]',
        b'["Ready",[-1]]',
        b'["Ready",[1.0]]',
        b'["Ready",["1"]]',
        b'["Ready",{"version":1}]',
        b'["Hello",[1,2,false,null]]',
        b'["Adopt",[0,0,0,0,1]]',
        b'["HandOver",[0,true,"ab"]]',
        b'["HandOver",[0,true,[1]]]',
        b'["ForgetDomain",[0,[true]]]',
        b'["DefineDomain",[0,true,true,[[0,0,0,0,0]]]]',
        b'["VCpuRow",[0,0,0,0,0,true]]',
        b'["EndpointClosed",[0,0,0,null]]',
        b'["__class__",[]]',
        b'[["Ready"],[1]]',
        b"[" * 100_000,
    ],
)
def test_a_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(HandoffError):
        decode(data)


@pytest.mark.fuzz
@given(st.binary())
def test_invalid_bytes_raise_only_handoff_error(data: bytes) -> None:
    with pytest.raises(HandoffError):
        decode(data)


# The socket


def test_descriptors_travel_with_their_message(pair: tuple[Handoff, Handoff]) -> None:
    ours, theirs = pair
    reader, writer = os.pipe()
    ours.send(commands.CloseGroup(1), [writer])
    os.close(writer)
    delivery = theirs.receive()
    assert delivery is not None
    assert (delivery.message, delivery.is_truncated) == (commands.CloseGroup(1), False)
    os.write(delivery.fds[0], b"through")
    assert os.read(reader, 9) == b"through"
    assert not os.get_inheritable(delivery.fds[0])
    for fd in (reader, *delivery.fds):
        os.close(fd)


def test_without_a_message_receive_returns_none(pair: tuple[Handoff, Handoff]) -> None:
    assert pair[0].receive() is None


def test_the_other_side_s_end_is_reported(pair: tuple[Handoff, Handoff]) -> None:
    ours, theirs = pair
    ours.send(commands.Quiesce())
    ours.close()
    delivery = theirs.receive()
    assert delivery is not None
    assert delivery.message == commands.Quiesce()
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.send(commands.Quiesce())  # to no process, without an error


def test_messages_that_do_not_fit_wait_in_order_with_their_descriptors(
    pair: tuple[Handoff, Handoff],
) -> None:
    ours, theirs = pair
    reader, writer = os.pipe()
    sent = 1_000  # some 280 of them fit
    for number in range(sent):
        ours.send(commands.CloseGroup(number))
    blocked = [ours.is_blocked]
    ours.send(commands.CloseGroup(sent), [writer])
    os.close(writer)
    received: list[Message] = []
    fds: list[int] = []
    while len(received) <= sent:
        delivery = theirs.receive()
        if delivery is None:
            ours.flush()
            continue
        received.append(delivery.message)
        fds.extend(delivery.fds)
    assert received == [commands.CloseGroup(number) for number in range(sent + 1)]
    blocked.append(ours.is_blocked)
    assert blocked == [True, False]
    os.write(fds[0], b"x")
    assert os.read(reader, 9) == b"x"
    for fd in (reader, *fds):
        os.close(fd)


def test_an_error_of_the_kernel_is_not_the_other_side_s_end(
    pair: tuple[Handoff, Handoff],
) -> None:
    ours, _ = pair
    with Path(os.devnull).open("rb") as null:  # recvmsg refuses it
        os.dup2(null.fileno(), ours.fileno())
    with pytest.raises(HandoffError, match="cannot receive: Socket operation on"):
        ours.receive()


def test_an_oversized_message_is_refused(pair: tuple[Handoff, Handoff]) -> None:
    with pytest.raises(HandoffError):
        pair[0].send(commands.CloseGroup(0), [0] * (MAX_FDS + 1))
    with pytest.raises(HandoffError):
        pair[0].send(reports.EndpointClosed("0", 0, 0, "x" * 300_000))


def test_a_malformed_message_s_descriptors_are_closed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    socket.send_fds(ours, [b"garbage"], [writer])
    os.close(writer)
    handoff = Handoff(theirs)
    with pytest.raises(HandoffError):
        handoff.receive()
    assert os.read(reader, 1) == b""  # there is no writer any more
    os.close(reader)
    ours.close()
    handoff.close()


# Table and rows


def test_rows_of_the_table_do_not_overlap() -> None:
    last = (channel_at(CHANNEL_ROWS - 1), vcpu_at(VCPU_ROWS - 1))
    assert last[0] + CHANNEL_WORDS == vcpu_at(0)
    assert last[1] < group_at(0)


def test_each_field_has_a_word_of_its_row() -> None:
    check_row(2, 0, 1)
    for fields in ((0, 2), (0, 0), (-1, 0)):
        with pytest.raises(AssertionError, match="do not fit a row of 2 words"):
            check_row(2, *fields)
    # The next reason would have overflowed a full row like this.
    with pytest.raises(AssertionError):
        check_row(CHANNEL_WORDS, *(REASONS + r for r in range(CHANNEL_WORDS)))


@pytest.mark.parametrize(
    ("at", "rows"),
    [(channel_at, CHANNEL_ROWS), (vcpu_at, VCPU_ROWS), (group_at, GROUP_ROWS)],
)
def test_an_invalid_row_is_refused(at: object, rows: int) -> None:
    for row in (-1, rows):
        with pytest.raises(IndexError):
            at(row)  # type: ignore[operator]


def test_two_mappings_of_a_table_share_their_words() -> None:
    fd = create_table()
    ours, theirs = SharedTable(fd), SharedTable(fd)
    os.close(fd)
    theirs.words[group_at(GROUP_ROWS - 1)] = 2**64 - 1
    assert ours.words[group_at(GROUP_ROWS - 1)] == 2**64 - 1
    ours.close()
    theirs.close()


def test_neither_side_can_shrink_the_table() -> None:
    fd = create_table()
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


@given(st.builds(Voter, st.none() | st.integers(0, 1279), st.booleans(), st.booleans()))
def test_a_voter_survives_the_table(voter: Voter) -> None:
    assert unpack_voter(pack_voter(voter)) == voter


def test_zero_is_no_voter_with_turbo_right() -> None:
    assert unpack_voter(0) == Voter(None, has_turbo_right=True, is_connect_vote=False)


def test_a_row_is_allocated_once_and_reused_last() -> None:
    rows: RowAllocator[str] = RowAllocator(3)
    assert [rows.allocate("a"), rows.allocate("b"), rows.allocate("a")] == [0, 1, 0]
    assert rows.free("a") == 0
    assert [rows.allocate("c"), rows.allocate("d")] == [2, 0]
    with pytest.raises(HandoffError, match="all 3 rows"):
        rows.allocate("e")


def test_the_rows_of_one_domain_are_freed_without_those_of_others() -> None:
    rows = DomainRows(8)
    one, other = DomainId("one"), DomainId("other")
    given = [rows.allocate(uuid, number) for uuid in (one, other) for number in (0, 1)]
    assert given == [0, 1, 2, 3]
    assert rows.free(one, kept={0}) == [1]
    assert dict(rows.of(one)) == {0: 0}
    assert dict(rows.of(other)) == {0: 2, 1: 3}
    assert rows.free(one) == [0]
    assert [rows.find(one, 0), rows.find(other, 0)] == [None, 2]
    assert sorted(rows.rows()) == [2, 3]
