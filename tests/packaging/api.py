# SPDX-License-Identifier: Apache-2.0
"""Calls the daemon's API: METHOD PATH [BODY]. An emulated CPU starts vmpower slowly."""

import socket
import sys

method, path, content = (*sys.argv[1:], "")[:3]
with socket.socket(socket.AF_UNIX) as client:
    client.connect("/run/vmpower/vmpower.sock")
    head = f"{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n"
    client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
    with client.makefile("rb") as answer:
        status = answer.readline().split()[1]
        body = answer.read().partition(b"\r\n\r\n")[2]
        sys.stdout.write(body.decode() + "\n")
sys.exit(status != b"200")
