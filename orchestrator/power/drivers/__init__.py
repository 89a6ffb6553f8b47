# SPDX-License-Identifier: Apache-2.0
"""One module for each scaling driver, and the contract that all of them implement."""
