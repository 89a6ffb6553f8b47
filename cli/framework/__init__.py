# SPDX-License-Identifier: Apache-2.0
"""What all commands build on: options, help, errors, exit statuses, the daemon."""
