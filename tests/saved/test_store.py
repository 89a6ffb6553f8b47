# SPDX-License-Identifier: Apache-2.0
"""The state file: replaced as a whole, for one boot, and never trusted."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import StateError
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.saved.state import (
    SavedDomain,
    SavedOverride,
    SavedPolicy,
    SavedState,
    SavedVote,
    save_policy,
)
from orchestrator.saved.store import MAX_BYTES, StateStore
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from pathlib import Path

UUID = DomainId("00000000-0000-4000-8000-000000000001")
DOMAIN = SavedDomain(
    name="fw",
    run=3,
    sockets={0: "17:4"},
    disabled={1: "root (uid 0, pid 9)"},
    policies=(
        SavedPolicy(kind=SourceKind.OPERATOR, name="night", text="workload low"),
        SavedPolicy(
            kind=SourceKind.GUEST, channel=0, text="branch-ratio vcpus=1", macs=()
        ),
    ),
    votes=(SavedVote(vcpu=0, group=2, khz=1_200_000, channel=0),),
)
STATE = SavedState(
    overrides=(SavedOverride(group=5, khz=1_200_000, by="root (uid 0, pid 9)"),),
    domains={UUID: DOMAIN},
)


@pytest.fixture
def tree(tmp_path: Path) -> CpuTree:
    lay_out(tmp_path / "sys", cpus=1, steps_khz=(2_000_000, 1_000_000))
    return CpuTree(tmp_path / "sys")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_was_saved_is_loaded(path: Path, tree: CpuTree) -> None:
    StateStore(path, tree).save(STATE)
    assert StateStore(path, tree).load() == STATE
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_state_has_no_file(path: Path, tree: CpuTree) -> None:
    store = StateStore(path, tree)
    assert store.load() == SavedState()
    store.save(STATE)
    store.save(SavedState())
    assert not path.exists()


def test_what_guests_have_set_can_be_left_out() -> None:
    kept = STATE.without_guests()
    assert kept.overrides == STATE.overrides
    domain = kept.domains[UUID]
    assert (domain.votes, len(domain.policies)) == ((), 1)
    only_votes = SavedDomain(name="fw", votes=DOMAIN.votes)
    assert SavedState(domains={UUID: only_votes}).without_guests() == SavedState()


def test_a_state_of_another_boot_is_ignored(
    path: Path, tree: CpuTree, tmp_path: Path
) -> None:
    StateStore(path, tree).save(STATE)
    lay_out(tmp_path / "later", cpus=1, steps_khz=(2_000_000, 1_000_000))
    assert StateStore(path, CpuTree(tmp_path / "later")).load() == SavedState()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b'{"schema": 2}', b"\xff", b"[" * 100_000]
)
def test_an_invalid_file_is_set_aside(path: Path, tree: CpuTree, data: bytes) -> None:
    path.write_bytes(data)
    assert StateStore(path, tree).load() == SavedState()
    assert not path.exists()
    assert path.with_name("state.json.unreadable").read_bytes() == data


@settings(deadline=None)  # each example creates files
@given(st.binary(max_size=200))
def test_no_bytes_are_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    directory = tmp_path_factory.mktemp("state")
    lay_out(directory / "sys", cpus=1, steps_khz=(2_000_000, 1_000_000))
    (directory / "state.json").write_bytes(data)
    store = StateStore(directory / "state.json", CpuTree(directory / "sys"))
    assert store.load() == SavedState()


def test_a_link_and_a_huge_file_are_not_read(
    path: Path, tree: CpuTree, tmp_path: Path
) -> None:
    store = StateStore(tmp_path / "target", tree)
    store.save(STATE)
    path.symlink_to(tmp_path / "target")
    assert StateStore(path, tree).load() == SavedState()
    assert (tmp_path / "target").exists()
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert StateStore(path, tree).load() == SavedState()


def test_a_full_disk_is_an_error_and_keeps_the_file(path: Path, tree: CpuTree) -> None:
    def fail(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    StateStore(path, tree).save(STATE)
    with pytest.raises(StateError, match="No space left"):
        StateStore(path, tree, sync=fail).save(STATE.without_guests())
    assert StateStore(path, tree).load() == STATE
    assert [file.name for file in path.parent.iterdir()] != ["state.json.new"]


@pytest.mark.parametrize("policy", DOMAIN.policies)
def test_a_policy_is_the_same_after_saving(policy: SavedPolicy) -> None:
    order = policy.order(UUID)
    assert save_policy(policy.source, order).order(UUID) == order
    assert save_policy(policy.source, order).source == policy.source


def test_policies_of_the_configuration_are_not_saved() -> None:
    order = DOMAIN.policies[0].order(UUID)
    with pytest.raises(ValueError, match="rule night is not saved"):
        save_policy(Source(SourceKind.RULE, "night"), order)
