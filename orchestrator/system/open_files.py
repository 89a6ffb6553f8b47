# SPDX-License-Identifier: Apache-2.0
"""The limit of open files: a channel needs one, a clock group up to three.

Source: man 2 getrlimit (RLIMIT_NOFILE); man 5 systemd.exec (LimitNOFILE=): the soft
limit is 1024 for programs that use select(2), the hard one some 500 000.
"""

from __future__ import annotations

import resource


def raise_limit() -> None:
    """Raise the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


def describe_shortage() -> str:
    """Return an error message that names the limit and the setting to change."""
    return f"too many open files: the limit is {limit()}, raise LimitNOFILE"
