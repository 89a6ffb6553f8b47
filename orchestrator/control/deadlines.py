# SPDX-License-Identifier: Apache-2.0
"""How long the API waits for a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds after which a client that does not continue is disconnected."""

    request_s: float = 30.0
    """For the next request, from the connection or the last answer to the end of the
    request's header; so also how long a connection may be idle."""
    body_s: float = 10.0
    """For the body of a request."""
    delivery_s: float = 10.0
    """For reading an answer. A client that does not read it could make the daemon keep
    documents for it."""
