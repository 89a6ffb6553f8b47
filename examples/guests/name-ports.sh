#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Create the links that udev would create: /dev/virtio-ports/NAME.
for port in /sys/class/virtio-ports/*; do
    name=
    read -r name 2>/dev/null <"$port/name"
    [ -n "$name" ] && [ ! -e "/dev/virtio-ports/$name" ] &&
        ln -sf "../${port##*/}" "/dev/virtio-ports/$name"
done
for link in /dev/virtio-ports/*; do
    [ -e "$link" ] || rm -f "$link"
done
