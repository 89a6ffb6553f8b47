# SPDX-License-Identifier: Apache-2.0
"""Entry point of `vmpower` and of `python -m cli`."""

from cli.app import app


def main() -> None:
    """Run the command line and exit with its status."""
    app(prog_name="vmpower")


if __name__ == "__main__":
    main()
