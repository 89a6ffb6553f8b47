# SPDX-License-Identifier: Apache-2.0
"""Guests in the test process itself: ``qemu:///embed?root=…``.

Usage, in a test (the fixture is shared by the whole session)::

    def test_it(embed_host: EmbedHost) -> None:
        guest = embed_host.start(GuestSpec(name="g", channels=(0, 1)))
        daemon = ...(embed_host.uri)    # in this process: others do not see the guests
        guest.remove()

One root per process, for good: libvirt cannot open another one later.

For a daemon in another process, give it a root whose guests start with it::

    with EmbedRoot() as root:
        prepare_autostart(root, GuestSpec(name="g"))
"""

from __future__ import annotations

from examples.guests.embed import EmbedRoot
from orchestrator.hypervisor.eventloop import ensure_event_loop
from tests.rig.guest import Guest, GuestHost, GuestSpec


class EmbedHost(GuestHost):
    """The embedded driver in a root of its own.

    Synchronization: one thread.
    """

    def __init__(self, *, user: str | None = None) -> None:
        ensure_event_loop()
        self.root = EmbedRoot(user=user)
        super().__init__(self.root.uri, self.root.directory, self.root.guests)

    def close(self) -> None:
        """End the guests, close the driver, remove the root."""
        self.remove_guests()
        self.disconnect()
        self.root.close()


def prepare_autostart(root: EmbedRoot, spec: GuestSpec) -> Guest:
    """Put a domain into a root, so that opening the root starts the guest."""
    host = GuestHost(root.uri, root.directory, root.guests)
    guest = Guest(host, spec)
    definitions = root.directory / "etc/qemu"
    (definitions / "autostart").mkdir(parents=True, exist_ok=True)
    definition = definitions / f"{guest.name}.xml"
    definition.write_text(guest.xml())
    (definitions / "autostart" / definition.name).symlink_to(definition)
    return guest
