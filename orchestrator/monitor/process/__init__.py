"""The monitor process: the loop, the packets, the votes, the writes.

Its imports decide how fast it starts: no dataclass, no pathlib, no asyncio.
"""
