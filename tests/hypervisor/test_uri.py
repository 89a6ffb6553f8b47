# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import ConfigError
from orchestrator.hypervisor.uri import TrustedUids, check_uri, trusted_uids

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///system",
        "qemu:///session",
        "qemu:///embed?root=/var/lib/x",
        "qemu+unix:///system",
        "qemu+unix:///session?socket=/run/user/1000/libvirt/libvirt-sock",
        "test:///default",
        "test:///tmp/node.xml",
    ],
)
def test_a_local_libvirt_is_accepted(uri: str) -> None:
    assert check_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "qemu://other/system",
        "qemu+ssh://root@other/system",
        "qemu+ssh:///system",
        "qemu+tls://other/system",
        "qemu+tcp://127.0.0.1/system",
        "qemu+unix://localhost/system",
        "qemu+libssh2://other/system",
        "test+tcp://other/default",
    ],
)
def test_a_remote_libvirt_is_refused(uri: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"remote libvirt URI .*: the frequencies of .* can only be set on",
    ):
        check_uri(uri)


@pytest.mark.parametrize(
    "uri",
    ["", "system", "xen:///system", "lxc:///", "qemu:///", "qemu:///other", "http://["],
)
def test_an_invalid_uri_is_refused_with_examples(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(uri)
    assert "qemu:///system" in caught.value.hint


@pytest.mark.parametrize("argument", ["", "?root=", "?root=relative"])
def test_an_embedded_driver_needs_an_absolute_directory(argument: str) -> None:
    with pytest.raises(ConfigError, match="absolute directory"):
        check_uri(f"qemu:///embed{argument}")


def test_root_the_daemon_and_qemu_may_listen() -> None:
    expected = {0, os.geteuid()}
    for name in ("libvirt-qemu", "qemu"):
        expected |= {user.pw_uid for user in pwd.getpwall() if user.pw_name == name}
    assert trusted_uids("qemu:///system") == expected


def test_the_owner_of_a_given_socket_may_listen(tmp_path: Path) -> None:
    socket = tmp_path / "libvirt-sock"
    socket.touch()
    os.chown(socket, 12345, 12345)
    uri = f"qemu+unix:///session?socket={socket}"
    assert trusted_uids(uri) == trusted_uids("qemu:///system") | {12345}


def test_a_given_socket_that_does_not_exist_yet_adds_no_user(tmp_path: Path) -> None:
    uri = f"qemu+unix:///session?socket={tmp_path}/none"
    assert trusted_uids(uri) == trusted_uids("qemu:///system")


def test_a_user_that_is_looked_up_for_each_channel(tmp_path: Path) -> None:
    socket = tmp_path / "libvirt-sock"
    trusted = TrustedUids(f"qemu+unix:///session?socket={socket}", [54321])
    assert (0 in trusted, os.geteuid() in trusted, 54321 in trusted) == (True,) * 3
    assert 12345 not in trusted
    socket.touch()
    os.chown(socket, 12345, 12345)
    assert 12345 in trusted
