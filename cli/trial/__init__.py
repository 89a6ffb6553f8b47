# SPDX-License-Identifier: Apache-2.0
"""`vmpower try`: a daemon of its own, with simulated CPUs and guests."""
