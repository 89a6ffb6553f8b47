# SPDX-License-Identifier: Apache-2.0
"""Entry point of the monitor process: ``python -I -S THIS_FILE DESCRIPTOR``.

-I and -S leave only the standard library on the path, for a fast start that does not
depend on the environment; so this package is added here.
"""

from __future__ import annotations

import sys
from os.path import abspath, dirname


def main() -> None:
    """Serve the hand-off socket whose descriptor is the argument."""
    package = dirname(dirname(dirname(abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib costs 5 ms
    sys.path.append(dirname(package))  # noqa: PTH120
    from orchestrator.monitor.process.main import serve

    serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
