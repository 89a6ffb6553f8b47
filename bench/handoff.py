"""vmpowerd beside more domains than libvirt's test driver can carry.

The daemon is the real one with everything on, and watches a libvirt that has a single
domain without channels. The domains of the benchmark are posted to it as libvirt's
descriptions; what follows, from the controller's decision to the answer, is the same.

    python -m bench.handoff DIRECTORY CHANNELS PER_DOMAIN CPUS
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from uuid import UUID

from bench.place import Place, describe_domain
from orchestrator.config import Config, LibvirtConfig
from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.daemon import Daemon
from orchestrator.events import DomainDescribed

_LOOK_S = 0.02
_LONE_NODE = (
    "<node><domain type='test' id='1'><name>lone</name>"
    f"<uuid>{UUID(int=2**128 - 1)}</uuid><memory>65536</memory><vcpu>1</vcpu>"
    "<os><type>hvm</type></os></domain></node>"
)
"""A domain without channels, and pinned nowhere: it shares no clock with ours."""
_NEVER_S = 1e6
"""A resync would find that libvirt does not know our domains."""


def main() -> None:
    """Serve until SIGTERM."""
    directory, channels, per_domain, cpus = sys.argv[1:]
    place = Place(
        directory=Path(directory),
        channels=int(channels),
        per_domain=int(per_domain),
        cpus=int(cpus),
    )
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_serve(place))


async def _serve(place: Place) -> None:
    config = Config(
        sysfs_root=place.tree,
        run_dir=place.run_dir,
        libvirt=LibvirtConfig(uri=_lone_domain(place), resync_s=_NEVER_S),
    )
    daemon = Daemon(config, reload=lambda: config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.stop)
    posting = asyncio.create_task(_post_domains(daemon, place))
    try:
        await daemon.run()
    finally:
        posting.cancel()


def _lone_domain(place: Place) -> str:
    node = place.directory / "node.xml"
    node.write_text(_LONE_NODE, encoding="ascii")
    return f"test://{node}"


async def _post_domains(daemon: Daemon, place: Place) -> None:
    """Post all domains, once libvirt's own have been listed, which drops others."""
    while not await asyncio.to_thread(_is_listed, place):
        await asyncio.sleep(_LOOK_S)
    for number in range(len(place.domains)):
        daemon.post(DomainDescribed(describe_domain(place, number), asked_ns=0))


def _is_listed(place: Place) -> bool:
    with ControlClient(place.run_dir / "vmpower.sock") as client:
        try:
            domains = client.domains()["domains"]
        except DaemonUnreachable:
            return False
    return any(domain["name"] == "lone" for domain in domains)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
