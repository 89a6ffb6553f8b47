# SPDX-License-Identifier: Apache-2.0
"""Facts for the checks: each module has values, and the function that reads them."""
