# SPDX-License-Identifier: Apache-2.0
"""The real things that tests need, each in one fixture: :mod:`tests.rig.fixtures`."""
