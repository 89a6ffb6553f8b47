# SPDX-License-Identifier: Apache-2.0
"""The documents that the control API sends and accepts, one module for each noun.

The status document is a contract: keys are added, not removed or changed. Clients see
the same shapes as `orchestrator.control.documents`, which `make api` generates from
these models.
Synchronization: none required, everything here is immutable.
"""

from orchestrator.control.models.channels import *
from orchestrator.control.models.cpus import *
from orchestrator.control.models.daemon import *
from orchestrator.control.models.document import *
from orchestrator.control.models.domains import *
from orchestrator.control.models.energy import *
from orchestrator.control.models.events import *
from orchestrator.control.models.failures import *
from orchestrator.control.models.history import *
from orchestrator.control.models.instructions import *
from orchestrator.control.models.policies import *
from orchestrator.control.models.rights import *
from orchestrator.control.models.status import *
