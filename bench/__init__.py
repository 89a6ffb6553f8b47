# SPDX-License-Identifier: Apache-2.0
"""vmpowerd compared with minimal loops in C: same load, same packets, one run."""
