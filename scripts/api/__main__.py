"""`make api`: write the client's side of the control API, from the server's.

With `--markdown`: print a reference of the API instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.api.client import write_client_calls
from scripts.api.documents import write_documents
from scripts.api.reference import write_reference

ROOT = Path(__file__).parents[2]
GENERATED = {
    "orchestrator/control/documents.py": write_documents,
    "orchestrator/control/client_calls.py": write_client_calls,
}


def main() -> None:
    """Write the modules, or print the reference."""
    parser = argparse.ArgumentParser(prog="python -m scripts.api", description=__doc__)
    parser.add_argument(
        "--markdown", action="store_true", help="Print a reference of the API."
    )
    if parser.parse_args().markdown:
        sys.stdout.write(write_reference())
        return
    for name, write in GENERATED.items():
        (ROOT / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
