"""The monitor: guests' packets to frequencies, in a process of its own.

`process` is that process, `client` is main's side of it, `link` is what both speak.
"""
