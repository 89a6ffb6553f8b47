# SPDX-License-Identifier: Apache-2.0
"""Shell completion: the scripts, and the candidates for arguments."""
