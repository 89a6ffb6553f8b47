# SPDX-License-Identifier: Apache-2.0
"""Policies: frequencies for vCPUs whose guests make no requests.

Theory of operation: a policy is a frozen value, its options, and one pure function,
`decide(view, memory)`. `kinds` has one module for each kind and their table; rules,
texts, help and manual are read from it. What a policy needs to see is read by
`sampling`, which does not depend on policies. The `engine` owns the installed policies,
requests samples when they are due, lets policies decide, and votes when a decision
changes. Nothing here sets a frequency: the vote of a policy is one among others, within
the operator's bounds.

A policy that knows nothing does not vote: if its samples are missing it withdraws its
votes, so that its vCPUs go up rather than down.
"""
