"""How many files a process may have open: a channel is one, a clock group up to three.

Source: man 2 getrlimit (RLIMIT_NOFILE); man 5 systemd.exec (LimitNOFILE=): the soft
limit is 1024 for programs that use select(2), the hard one some 500 000.
"""

from __future__ import annotations

import resource


def allow_all() -> None:
    """Raise the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


def explain_shortage() -> str:
    """Say what is missing, in the words of whoever can give it."""
    return f"too many open files, {limit()} are allowed: raise LimitNOFILE"
