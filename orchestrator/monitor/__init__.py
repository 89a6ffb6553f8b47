# SPDX-License-Identifier: Apache-2.0
"""The monitor: turns guests' packets into frequencies, in a separate process.

`process` is that process, `client` the main process's side of it, and `link` what the
two exchange.
"""
