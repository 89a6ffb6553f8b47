# SPDX-License-Identifier: Apache-2.0
"""The state file: decisions that outlive a restart of the daemon."""
