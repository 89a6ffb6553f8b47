"""Real guests that boot in two seconds: kernel, initramfs, programs.

Nothing is installed on the machine for it: Debian's cloud kernel is downloaded as a
package and unpacked, the initramfs is put together from busybox and whatever
program the guest is to run. Both are cached, see :mod:`examples.guests.cache`.

Usage, for a guest that talks over its poweragent ports::

    from examples.guests.kernel import fetch_kernel
    from examples.guests.images import CMDLINE, build_talker_image

    kernel = fetch_kernel().image       # Path of vmlinuz
    initrd = build_talker_image()       # Path of the initramfs
    cmdline = CMDLINE + " talker=open:0;connect:0;flood:0:100"

A domain that boots these two needs 128 MiB, a serial console (``ttyS0``) and virtio
channels. It runs under TCG: no KVM is needed.
"""
