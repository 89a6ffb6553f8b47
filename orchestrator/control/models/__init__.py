"""The documents that the control API sends and accepts, one module for each noun.

The status document is a contract: keys are added, not removed or changed. Clients see
the same shapes as `orchestrator.control.documents`, which `make api` generates from
these models.
Synchronization: none required, everything here is immutable.
"""

from orchestrator.control.models.channels import (
    Channel,
    ChannelList,
    DomainChannel,
    EnabledRequest,
)
from orchestrator.control.models.cpus import ClockRequest, Cpu, CpuList, UnmanagedCpu
from orchestrator.control.models.daemon import DaemonStatus, LibvirtStatus
from orchestrator.control.models.document import Document
from orchestrator.control.models.domains import Domain, DomainList, Vcpu
from orchestrator.control.models.events import EventRecord
from orchestrator.control.models.failures import ErrorDocument, Failure
from orchestrator.control.models.instructions import (
    InstructionRequest,
    Outcome,
    OutcomeList,
)
from orchestrator.control.models.policies import (
    Policy,
    PolicyList,
    PolicyOfDomain,
    PolicyRequest,
    PolicyWant,
)
from orchestrator.control.models.rights import (
    Bound,
    GenerationRight,
    ModeRight,
    OnboardingRight,
    Permission,
    Rights,
)
from orchestrator.control.models.status import SCHEMA, Status

__all__ = [
    "SCHEMA",
    "Bound",
    "Channel",
    "ChannelList",
    "ClockRequest",
    "Cpu",
    "CpuList",
    "DaemonStatus",
    "Document",
    "Domain",
    "DomainChannel",
    "DomainList",
    "EnabledRequest",
    "ErrorDocument",
    "EventRecord",
    "Failure",
    "GenerationRight",
    "InstructionRequest",
    "LibvirtStatus",
    "ModeRight",
    "OnboardingRight",
    "Outcome",
    "OutcomeList",
    "Permission",
    "Policy",
    "PolicyList",
    "PolicyOfDomain",
    "PolicyRequest",
    "PolicyWant",
    "Rights",
    "Status",
    "UnmanagedCpu",
    "Vcpu",
]
