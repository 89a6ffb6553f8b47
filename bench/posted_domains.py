# SPDX-License-Identifier: Apache-2.0
"""vmpowerd beside more domains than libvirt's test driver supports.

The real daemon with everything enabled watches a libvirt with a single domain without
channels. The domains of the benchmark are posted to it as descriptions from libvirt;
everything else, from the controller to the answer, is the same.

    python -m bench.posted_domains DIRECTORY CHANNELS PER_DOMAIN CPUS KIND
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from uuid import UUID

from bench.workspace import Workspace, describe_domain
from orchestrator.config import ChannelsConfig, Config, LibvirtConfig
from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.daemon import Daemon
from orchestrator.events import DomainDescribed
from orchestrator.values.domain import ChannelKind

_POLL_S = 0.02
_LONE_NODE = (
    "<node><domain type='test' id='1'><name>lone</name>"
    f"<uuid>{UUID(int=2**128 - 1)}</uuid><memory>65536</memory><vcpu>1</vcpu>"
    "<os><type>hvm</type></os></domain></node>"
)
"""A domain without channels and without pinning: it shares no clock group."""
_NEVER_S = 1e6
"""A resync would find that these domains do not exist in libvirt."""


def main() -> None:
    """Serve until SIGTERM."""
    directory, channels, per_domain, cpus, kind = sys.argv[1:]
    workspace = Workspace(
        directory=Path(directory),
        channels=int(channels),
        per_domain=int(per_domain),
        cpus=int(cpus),
        kind=ChannelKind(kind),
    )
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_serve(workspace))


async def _serve(workspace: Workspace) -> None:
    config = Config(
        sysfs_root=workspace.tree,
        run_dir=workspace.run_dir,
        libvirt=LibvirtConfig(uri=_lone_domain(workspace), resync_s=_NEVER_S),
        channels=ChannelsConfig(budget=0),
    )
    daemon = Daemon(config, reload=lambda: config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.stop)
    posting = asyncio.create_task(_post_domains(daemon, workspace))
    try:
        await daemon.run()
    finally:
        posting.cancel()


def _lone_domain(workspace: Workspace) -> str:
    node = workspace.directory / "node.xml"
    node.write_text(_LONE_NODE, encoding="ascii")
    return f"test://{node}"


async def _post_domains(daemon: Daemon, workspace: Workspace) -> None:
    """Post all domains after the first listing of libvirt's, which removes others."""
    while not await asyncio.to_thread(_is_listed, workspace):
        await asyncio.sleep(_POLL_S)
    for number in range(len(workspace.domains)):
        daemon.post(DomainDescribed(describe_domain(workspace, number), asked_ns=0))


def _is_listed(workspace: Workspace) -> bool:
    with ControlClient(workspace.run_dir / "vmpower.sock") as client:
        try:
            domains = client.domains()["domains"]
        except DaemonUnreachable:
            return False
    return any(domain["name"] == "lone" for domain in domains)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
