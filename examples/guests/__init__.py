# SPDX-License-Identifier: Apache-2.0
"""Real guests that boot in two seconds: kernel, initramfs, programs.

Nothing is installed on this machine: Debian's cloud kernel is downloaded as a package
and unpacked, and the initramfs is built from busybox and the program that the guest
runs. Both are cached, see :mod:`examples.guests.cache`.

Usage, for a guest that sends requests over its poweragent ports::

    from examples.guests.kernel import fetch_kernel
    from examples.guests.images import CMDLINE, build_talker_image

    kernel = fetch_kernel().image       # Path of vmlinuz
    initrd = build_talker_image()       # Path of the initramfs
    cmdline = CMDLINE + " talker=open:0;connect:0;flood:0:100"

A domain that boots them needs 128 MiB, a serial console (``ttyS0``) and virtio
channels. It also runs under TCG, without KVM.
"""
