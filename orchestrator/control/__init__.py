# SPDX-License-Identifier: Apache-2.0
"""The control API of the daemon: HTTP and JSON on two UNIX sockets.

`calls` is the table of all calls, `models` has their documents; the server's routes,
the OpenAPI document and, through `make api`, the client's methods and documents come
from these two. What both sides must agree on besides is here, so that a client needs to
import neither pydantic nor aiohttp.
"""

from typing import Final

CONTROL_SOCKET: Final = "vmpower.sock"
"""Socket in the run directory that accepts every call."""
READ_ONLY_SOCKET: Final = "vmpower-ro.sock"
"""Socket in the run directory for every user of the host: only calls that read."""
OPENAPI_PATH: Final = "/openapi.json"
"""Path of the description of all calls, on both sockets."""
METRICS_PATH: Final = "/metrics"
"""Path of the metrics for Prometheus, on both sockets and at `[metrics] listen`."""
BODY_LIMIT_BYTES: Final = 64 * 1024
"""Size limit of a request's body."""
