# SPDX-License-Identifier: Apache-2.0
"""`make api`: write the client's side of the API, its reference and that of JSON."""

from __future__ import annotations

from pathlib import Path

from scripts.api.client import write_client_calls
from scripts.api.documents import write_documents
from scripts.api.reference import write_reference


def write_output_reference() -> str:
    """Write the reference of JSON; imports the documents, as they were just written."""
    from scripts.api import output

    return output.write_output_reference()


ROOT = Path(__file__).parents[2]
GENERATED = {
    "orchestrator/control/documents.py": write_documents,
    "orchestrator/control/client_calls.py": write_client_calls,
    "docs/api.md": write_reference,
    "docs/json.md": write_output_reference,
}


def main() -> None:
    """Write the files, from the models and the table of calls."""
    for name, write in GENERATED.items():
        (ROOT / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
