#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's init: mounts file systems, loads modules, names ports, runs /work.sh.
# Kernel parameters such as talker=… arrive as environment variables.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
# The kernel lets everybody write to it, and DPDK opens no plugins below such a directory.
chmod 755 /
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/virtio-ports /run /tmp /root
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
while read -r module parameters; do
    # shellcheck disable=SC2086  # one word per parameter
    insmod "/modules/$module.ko" $parameters ||
        { echo "init: cannot load $module" && dmesg | tail -n 40; }
done </modules/order

# In place of udev: name the ports whenever the kernel reports a new device.
uevent /bin/name-ports &
/bin/name-ports

# Wait (10 s at most) for the port of this poweragent channel.
await_channel() {
    tries=500
    while [ ! -e "/dev/virtio-ports/virtio.serial.port.poweragent.$1" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        usleep 20000
        /bin/name-ports
    done
}

. /work.sh
echo "init: work ended with $?"
poweroff -f
