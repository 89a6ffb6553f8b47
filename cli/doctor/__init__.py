# SPDX-License-Identifier: Apache-2.0
"""`vmpower doctor`: diagnoses problems on a host and suggests fixes.

Theory of operation: `facts/` read files, libvirt and the daemon, and judge nothing;
`checks/` judge facts and read nothing. A check is a function of facts with the
decorator `@check`, in one of the modules there. A fact that cannot be read is replaced
by `Missing`, with the reason, and the checks that need it are skipped. A new check is
one function and its test.
"""
