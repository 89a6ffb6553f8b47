# SPDX-License-Identifier: Apache-2.0
"""The monitor process: the loop, the packets, the votes, the writes.

Its imports determine how fast it starts: no dataclass, no pathlib, no asyncio.
"""
