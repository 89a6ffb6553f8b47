#!/bin/sh
# The first program of a guest: mounts, modules, names of ports, then the work.
# Words of the kernel command line such as talker=… arrive as variables.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/virtio-ports /run /tmp /root
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || echo "init: no $module"
done

# udev's work: the kernel says that something came, we name the ports.
uevent /bin/name-ports &
/bin/name-ports

# Waits (10 s at most) until the guest has this poweragent channel.
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
