# SPDX-License-Identifier: Apache-2.0
"""Images of guests, for kernels that have virtio as modules or built in."""

from __future__ import annotations

import lzma
import re
from typing import TYPE_CHECKING

import pytest

from examples.guests.cache import GuestError
from examples.guests.images import VIRTIO_MODULES, build_shell_image
from examples.guests.kernel import fetch_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DRIVERS = "kernel/drivers/virtio"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VMPOWER_CACHE", str(tmp_path))
    return tmp_path


def unpack_kernel(
    cache: Path, *, modules: str, files: Iterable[str], built_in: Iterable[str]
) -> None:
    """Lay out an unpacked package, with `modules` as its directory of modules."""
    (cache / "kernel/boot").mkdir(parents=True)
    (cache / "kernel/boot/vmlinuz-6").touch()
    directory = cache / "kernel" / modules / "6"
    (directory / DRIVERS).mkdir(parents=True)
    for name in files:
        packed = lzma.compress(name.encode())
        (directory / DRIVERS / f"{name}.ko.xz").write_bytes(packed)
    lines = [f"{DRIVERS}/{name}.ko\n" for name in built_in]
    (directory / "modules.builtin").write_text("".join(lines))


def loaded_modules(image: Path) -> list[str]:
    """Return what the guest loads, in order."""
    order = re.search(rb"modules/order\0+([a-z_\n]*)", image.read_bytes())
    assert order is not None
    return order[1].decode().split()


def test_a_guest_loads_virtio_where_it_is_a_module(cache: Path) -> None:
    unpack_kernel(cache, modules="lib/modules", files=VIRTIO_MODULES, built_in=())
    image = build_shell_image("true\n")
    assert loaded_modules(image) == list(VIRTIO_MODULES)
    assert all(name.encode() in image.read_bytes() for name in VIRTIO_MODULES)


def test_a_guest_loads_no_module_that_is_built_in(cache: Path) -> None:
    # As in Debian 13, whose packages also have another path.
    built_in = [name for name in VIRTIO_MODULES if name != "virtio_console"]
    unpack_kernel(
        cache,
        modules="usr/lib/modules",
        files=["virtio_console"],
        built_in=built_in,
    )
    assert loaded_modules(build_shell_image("true\n")) == ["virtio_console"]


def test_a_module_that_is_neither_file_nor_built_in_is_an_error(cache: Path) -> None:
    # "virtio" must match neither virtio_ring nor virtio_pci.
    names = [name for name in VIRTIO_MODULES if name != "virtio"]
    unpack_kernel(cache, modules="lib/modules", files=names[:1], built_in=names[1:])
    assert fetch_kernel().is_built_in("virtio_pci")
    with pytest.raises(GuestError, match=r"6 has no module virtio$"):
        build_shell_image("true\n")
