# SPDX-License-Identifier: Apache-2.0
# Runs in a booted Debian that has libvirt, but nothing that vmpower depends on
# (debian_guest.py). By the clock of the guest: from the package to a served domain.
exec 2>&1
export LC_ALL=C.UTF-8 COLUMNS=200 DEBIAN_FRONTEND=noninteractive
cpu=/sys/devices/system/cpu/cpu1/cpufreq
sed -e '/<channel/,/<.channel/d' fw.xml >plain.xml
virsh -q define plain.xml
start=$(cut -d . -f 1 /proc/uptime)
passed() { printf '%s: %s\n' "$1" $(($(cut -d . -f 1 /proc/uptime) - start)); }

printf '\n=== install\n'
apt-get -q update && apt-get -q -y -o Dpkg::Use-Pty=0 install ./vmpower.deb || exit 1
printf '\n=== served\n'
passed installed
vmpower domain onboard fw >/dev/null
virsh -q start fw
passed started
vmpower policy set fw workload low >/dev/null
until [ "$(cat $cpu/scaling_governor)" = userspace ]; do sleep 0.1; done
cat $cpu/scaling_setspeed
passed served
printf '\n=== end\n'
