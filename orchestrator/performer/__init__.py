# SPDX-License-Identifier: Apache-2.0
"""Carries out the controller's actions, in threads that may hang."""
