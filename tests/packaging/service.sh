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
    deadline=$(($(uptime_s) + 600))
    until "$@" >/dev/null 2>&1; do
        if [ "$(uptime_s)" -gt "$deadline" ]; then echo "TIMEOUT: $*" >&2; return 1; fi
        sleep 1
    done
}
governor_is() { [ "$(cat $cpu/scaling_governor)" = "$1" ]; }
pid() { systemctl show -P MainPID vmpowerd; }
has_new_pid() { new=$(pid) && [ "$new" != "$1" ] && [ "$new" != 0 ] && systemctl is-active -q vmpowerd; }
# The daemon has the channel, and its policy has taken the clock group.
is_served() { governor_is userspace && api GET /v1/domains/fw | grep -q '"state": *"\(open\|connected\)"'; }
api() { python3 -I -S api.py "$@"; }
set_policy() { api PUT /v1/domains/fw/policies/workload '{"text": "workload low"}' >/dev/null; }
# Sets the policy when the daemon knows the domain.
serve() { await set_policy && await is_served && echo served; }
policies() { api GET /v1/policies; }
configure_unit() {
    mkdir -p $drop_ins
    printf '[Service]\n%s\n' "$2" >"$drop_ins/$1.conf"
    systemctl daemon-reload
}

# Everything below /, except what changes by itself or is not vmpower's.
list_files() {
    find / -xdev \( -path /tmp -o -path /proc -o -path /var/log -o -path /var/cache -o -path /var/tmp \
        -o -path /var/lib/libvirt -o -path /var/lib/systemd -o -path /root -o -path /etc/tuned \) -prune \
        -o ! -name '*-' -print
    find /run -maxdepth 1
}
# A domain without channels; the first one has its own.
define_plain() {
    sed -e 's|<name>fw|<name>plain|' -e '/<channel/,/<.channel/d' fw.xml >plain.xml
    virsh -q define plain.xml
}
watchdog_ended() { [ "$(journalctl -u vmpowerd -o cat | grep -c -i 'watchdog timeout')" -ge "$1" ]; }

# `vmpower restore` alone takes an emulated CPU longer than the unit's 15 s.
drop_ins=/run/systemd/system/vmpowerd.service.d
configure_unit slow TimeoutStopSec=900

# In `make test` the packages are installed already, and only the first sections run.
if [ ! -e /usr/bin/vmpower ]; then
    section install
    list_files | sort >/var/tmp/before
    start=$(uptime_s)
    dpkg -i ./*_1.deb || exit 1
    await systemctl is-active -q vmpowerd
    systemctl is-enabled vmpowerd
    vmpower --version
    vmpower-guest --help | head -n 1
    cockpit-bridge --packages | grep vmpower
    virsh -q define fw.xml
    virsh -q start fw
    vmpower policy set fw workload low
    await is_served
    section served
    echo "seconds=$(($(uptime_s) - start))"
    cat $cpu/scaling_governor $cpu/scaling_setspeed
    virsh -q autostart fw
    printf '[control]\ngroup = "libvirt"\n' >/etc/vmpower/conf.d/group.toml
    section reboot
    systemctl stop vmpowerd
    sync
    systemctl reboot --force --force
    exec tail -f /dev/null
fi

section boot
await systemctl is-active -q vmpowerd
systemctl show -p After vmpowerd | grep -o libvirtd.service
systemctl show -P ActiveEnterTimestampMonotonic libvirtd
systemctl show -P ExecMainStartTimestampMonotonic vmpowerd
[ ! -e quick ] || { virsh -q define fw.xml && virsh -q start fw; }
serve >/dev/null
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

section tmp
ls -d /tmp/powermonitor
sed -e 's|<name>fw|<name>old|' -e 's|<target type="virtio"|<source mode="bind" path="/tmp/powermonitor/old.0"/>&|' fw.xml >old.xml
virsh -q define old.xml
virsh -q start old
is_old_connected() { api GET /v1/domains/old | grep -q '"state": *"\(open\|connected\)"'; }
await is_old_connected && echo connected
virsh -q destroy old
virsh -q undefine old

section log
clients=300
echo $clients
python3 clients.py /run/vmpower/vmpower-ro.sock $clients
journalctl -u vmpowerd -o cat | grep -c 'path=/run/vmpower/vmpower-ro.sock'
journalctl -o cat | grep -c 'Suppressed .* from vmpowerd'

section group
stat -c '%G %a' /run/vmpower/vmpower.sock

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
policies

section kill
before=$(pid)
kill -9 "$before"
await has_new_pid "$before"
systemctl show -P NRestarts vmpowerd
serve

# It is fed only while both processes run: main is stopped, then the monitor, and what
# main starts instead of it hangs, too.
section watchdog
configure_unit watchdog WatchdogSec=20
systemctl restart vmpowerd
await is_served
before=$(pid)
pkill -STOP -f monitor/process
await sh -c 'journalctl -u vmpowerd -o cat | grep -q "monitor process hangs"'
[ "$(pid)" = "$before" ] && echo "monitor replaced"
await is_served
kill -STOP "$before"
await watchdog_ended 1 && echo "main hangs"
await has_new_pid "$before"
serve
launcher=/usr/share/vmpower/orchestrator/monitor/process/__main__.py
mv $launcher launcher
echo 'import signal; signal.pause()' >$launcher
pkill -STOP -f monitor/process
await watchdog_ended 2 && echo "monitors hang"
mv launcher $launcher
rm $drop_ins/watchdog.conf
systemctl daemon-reload
systemctl restart vmpowerd
serve

section upgrade
before=$(pid)
dpkg -i ./*_2.deb >/dev/null || exit 1
has_new_pid "$before" && echo "restarted"
await is_served
dpkg-query -W -f '${Version}\n' vmpower
policies

section tuned
vmpower tuned-profile --install
# With the profile of the distribution it changes every CPU, which is drift.
systemctl start tuned
tuned-adm profile vmpower
vmpower cpu retake 1
systemctl restart tuned
tuned-adm active
# The daemon verifies its CPUs every two seconds.
sleep 6
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
serve
systemd-analyze security vmpowerd | tail -n 1
journalctl -u vmpowerd -o cat -p warning --since -2min
systemctl stop vmpowerd
rm -r /etc/systemd/system/vmpowerd.service.d /etc/tmpfiles.d/vmpower.conf
systemctl daemon-reload

section offboard
define_plain
virsh dumpxml --inactive plain >before.xml
vmpower domain onboard plain
virsh dumpxml --inactive plain | grep -c virtio.serial.port.poweragent
vmpower domain offboard --all
for name in plain fw; do virsh dumpxml --inactive $name | grep -c -e vmpower -e poweragent; done
# libvirt 9.0 keeps an empty element.
virsh dumpxml --inactive plain | grep -v '<metadata/>' | diff before.xml - && echo same

section remove
systemctl start vmpowerd
dpkg -r cockpit-vmpower vmpower vmpower-guest
systemctl is-active vmpowerd
cat $cpu/scaling_governor
ls /etc/vmpower
rm -r $drop_ins
section purge
dpkg -P vmpower >/dev/null
list_files | sort | diff /var/tmp/before - | grep '^>' | grep -v -e /libvirt/ -e virtlogd
grep -rl vmpower /etc /usr/local/lib /usr/lib/systemd | grep -v -e vmpower-test -e /etc/tuned -e '-$' -e initramfs-tools
section end
