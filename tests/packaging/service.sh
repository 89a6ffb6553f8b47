# SPDX-License-Identifier: Apache-2.0
# Runs in a booted Debian (debian_guest.py), as root. test_service.py checks what each
# section prints. The deadline of each wait is far above what an emulated CPU needs.
exec 2>&1
export SYSTEMD_COLORS=0 SYSTEMD_URLIFY=0 LC_ALL=C.UTF-8 COLUMNS=200 PAGER=cat SYSTEMD_PAGER=cat
cpu=/sys/devices/system/cpu/cpu1/cpufreq

# On a line of its own, whatever the console shows before.
section() { printf '\n=== %s\n' "$1"; }
uptime_s() { cut -d . -f 1 /proc/uptime; }
# Waits for a command to succeed.
await() {
    deadline=$(($(uptime_s) + 240))
    until "$@" >/dev/null 2>&1; do
        if [ "$(uptime_s)" -gt "$deadline" ]; then echo "TIMEOUT: $*"; return 1; fi
        sleep 0.2
    done
}
governor_is() { [ "$(cat $cpu/scaling_governor)" = "$1" ]; }
pid() { systemctl show -P MainPID vmpowerd; }
has_new_pid() { [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ] && systemctl is-active -q vmpowerd; }
# The daemon has the channel, and its policy has taken the clock group.
is_served() { vmpower channel list fw -o json | grep -q '"state": "\(open\|connected\)"' && governor_is userspace; }
configure_unit() {
    mkdir -p $drop_ins
    printf '[Service]\n%s\n' "$2" >"$drop_ins/$1.conf"
    systemctl daemon-reload
}

# `vmpower restore` alone takes an emulated CPU longer than the unit's 15 s.
drop_ins=/run/systemd/system/vmpowerd.service.d
configure_unit slow TimeoutStopSec=900

# In `make test` the packages are installed already, and only the first sections run.
if [ ! -e /usr/bin/vmpower ]; then
    section install
    start=$(uptime_s)
    dpkg -i vmpower_1.deb guest_1.deb || exit 1
    await systemctl is-active -q vmpowerd
    systemctl is-enabled vmpowerd
    vmpower --version
    vmpower-guest --help | head -n 1
    vmpower doctor
    virsh -q define fw.xml
    virsh -q start fw
    vmpower policy set fw workload low
    await is_served
    section served
    echo "seconds=$(($(uptime_s) - start))"
    vmpower status
    cat $cpu/scaling_governor $cpu/scaling_setspeed
    virsh -q autostart fw
    section reboot
    systemctl stop vmpowerd
    sync
    systemctl reboot --force --force
    exec tail -f /dev/null
fi

section boot
await systemctl is-active -q vmpowerd
systemctl show -p After vmpowerd | grep -o libvirtd.service
[ ! -e quick ] || { virsh -q define fw.xml && virsh -q start fw; }
await vmpower domain show fw
vmpower policy set fw workload low >/dev/null
await is_served
cat $cpu/scaling_governor $cpu/scaling_setspeed

section journal
journalctl -u vmpowerd -o json DOMAIN=fw --output-fields=MESSAGE,PRIORITY,UUID,CHANNEL,VMPOWER_EVENT

section sandbox
systemd-analyze security vmpowerd | tail -n 1
touch "/proc/$(pid)/root/sys/kernel/mm/ksm/run" && echo writable
grep ' /sys' "/proc/$(pid)/mountinfo" | cut -d ' ' -f 5,6
ps -o user= -p "$(pgrep -f monitor/process)"

if [ -e quick ]; then
    section stop
    systemctl stop vmpowerd
    cat $cpu/scaling_governor
    systemctl is-active vmpowerd
    section end
    exit 0
fi

section reload
printf 'log_level = "debug"\n' >/etc/vmpower/conf.d/test.toml
systemctl reload vmpowerd
await sh -c 'journalctl -u vmpowerd -o cat | grep -q "configuration:.*log_level"'
journalctl -u vmpowerd -o cat | grep "configuration:"
rm /etc/vmpower/conf.d/test.toml

section restart
before=$(pid)
systemctl restart vmpowerd
has_new_pid "$before" && echo restarted
await is_served
vmpower policy list fw

section kill
before=$(pid)
kill -9 "$before"
await has_new_pid "$before"
systemctl show -P NRestarts vmpowerd
vmpower policy set fw workload low
await is_served && echo served

section watchdog
configure_unit watchdog WatchdogSec=10
systemctl restart vmpowerd
await is_served
before=$(pid)
kill -STOP "$(pgrep -f monitor/process)"
await sh -c 'journalctl -u vmpowerd -o cat | grep -q "monitor process hangs"'
[ "$(pid)" = "$before" ] && echo "monitor replaced"
await is_served
kill -STOP "$(pid)"
await has_new_pid "$before"
journalctl -u vmpowerd -o cat _SYSTEMD_UNIT=init.scope + UNIT=vmpowerd.service | grep -i watchdog | head -n 1
rm $drop_ins/watchdog.conf
systemctl daemon-reload
vmpower policy set fw workload low
await is_served && echo served

section upgrade
systemctl restart vmpowerd
await is_served
before=$(pid)
dpkg -i vmpower_2.deb >/dev/null || exit 1
has_new_pid "$before" && echo "restarted"
await is_served
dpkg-query -W -f '${Version}\n' vmpower
vmpower policy list fw

section tuned
vmpower tuned-profile --install
systemctl start tuned
tuned-adm profile vmpower
tuned-adm active
cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor
vmpower cpu list -o json | grep '"drift"'
systemctl stop tuned

section stop
systemctl stop vmpowerd
cat $cpu/scaling_governor
systemctl is-active vmpowerd

section unprivileged
mkdir -p /etc/systemd/system/vmpowerd.service.d
cp /usr/share/doc/vmpower/examples/unprivileged.conf /etc/systemd/system/vmpowerd.service.d/
cp /usr/share/doc/vmpower/examples/cpufreq-rights.conf /etc/tmpfiles.d/vmpower.conf
systemctl daemon-reload
systemctl start vmpowerd
ps -o user= -p "$(pid)"
grep CapEff "/proc/$(pid)/status"
await vmpower domain show fw
vmpower policy set fw workload low
await is_served && echo served
systemd-analyze security vmpowerd | tail -n 1
journalctl -u vmpowerd -o cat -p warning --since -2min
systemctl stop vmpowerd
rm -r /etc/systemd/system/vmpowerd.service.d /etc/tmpfiles.d/vmpower.conf
systemctl daemon-reload

section remove
systemctl start vmpowerd
dpkg -r vmpower vmpower-guest
systemctl is-active vmpowerd
cat $cpu/scaling_governor
ls /etc/vmpower
rm -r $drop_ins
section purge
dpkg -P vmpower vmpower-guest >/dev/null
find /etc /var /run -xdev -iname '*vmpower*' |
    grep -v -e vmpower-test -e /etc/tuned -e initramfs-tools
# Not: what an operator wrote for TuneD, and backups of the list of users.
grep -rl vmpower /etc | grep -v -e vmpower-test -e /etc/tuned -e '-$' -e initramfs-tools
find /run -maxdepth 1 -name 'vmpower*'
section end
