# SPDX-License-Identifier: Apache-2.0
"""`vmpower top`: the live dashboard.

`history` keeps recent samples. (snapshot, view, size) -> screen and (view, key) -> view
are pure. `poller` requests samples in threads; `loop` connects everything.
"""
