# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, and the service that they install, in a booted Debian."""
