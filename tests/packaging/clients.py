# SPDX-License-Identifier: Apache-2.0
"""Sends invalid requests to a socket, each by a client of its own: PATH COUNT."""

import socket
import sys

for _ in range(int(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(sys.argv[1])
        client.sendall(b"no method of HTTP\r\n\r\n")
        client.recv(1)
