# SPDX-License-Identifier: Apache-2.0
"""The bytes that DPDK's power library and a host exchange over a channel.

Theory of operation: there is no framing, no magic number and no version. A packet is a
C structure written to a byte stream, little-endian with natural alignment, and only its
size indicates its generation. Packets arrive arbitrarily split and coalesced. An ACK of
a power request equals the request byte for byte, because the code of the answer
replaces the code of the command, and both are 1.

Pure, and importable by Python 3.9, because the guest's side uses it too.

Source: DPDK's channel_commands.h (v1.8 to v20.11) and rte_power_guest_channel.h (v21.02
to v26.07), compiled for x86-64, i386 and aarch64.
"""

from __future__ import annotations

from orchestrator.channel.protocol.codes import (
    Answer,
    Command,
    CoreType,
    FigureSource,
    PolicyKind,
    Unit,
    WorkloadLevel,
)
from orchestrator.channel.protocol.energy import (
    ENERGY_REPLY,
    EnergyFigures,
    decode_energy,
    encode_energy,
    encode_energy_refusal,
)
from orchestrator.channel.protocol.generations import (
    GENERATION_16,
    GENERATION_456,
    GENERATION_460,
    GENERATION_464,
    GENERATIONS,
    MAX_VCPUS,
    Generation,
)
from orchestrator.channel.protocol.policies import (
    HOURS,
    MAX_MACS,
    PolicyPacket,
    decode_policy,
    encode_policy,
)
from orchestrator.channel.protocol.replies import (
    Capabilities,
    Frequencies,
    decode_capabilities,
    decode_frequencies,
    encode_capabilities,
    encode_frequencies,
    encode_refusal,
)
from orchestrator.channel.protocol.requests import (
    Header,
    Request,
    decode,
    decode_all,
    encode,
    encode_answer,
    encode_connect,
    read_headers,
)

__all__ = [
    "ENERGY_REPLY",
    "GENERATIONS",
    "GENERATION_16",
    "GENERATION_456",
    "GENERATION_460",
    "GENERATION_464",
    "HOURS",
    "MAX_MACS",
    "MAX_VCPUS",
    "Answer",
    "Capabilities",
    "Command",
    "CoreType",
    "EnergyFigures",
    "FigureSource",
    "Frequencies",
    "Generation",
    "Header",
    "PolicyKind",
    "PolicyPacket",
    "Request",
    "Unit",
    "WorkloadLevel",
    "decode",
    "decode_all",
    "decode_capabilities",
    "decode_energy",
    "decode_frequencies",
    "decode_policy",
    "encode",
    "encode_answer",
    "encode_capabilities",
    "encode_connect",
    "encode_energy",
    "encode_energy_refusal",
    "encode_frequencies",
    "encode_policy",
    "encode_refusal",
    "read_headers",
]
