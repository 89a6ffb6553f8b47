#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Keep one vCPU of an ordinary guest busy, for changing parts of the time.
#
# Usage: load VCPU SECONDS PERCENT...: each load lasts two seconds, in turns. Four times a
# second it prints a line, which the host parses:
#
#     @ vcpu=0 ms=12250 load=60 khz=2000000 changes=81 governor=schedutil
#
# The frequency is the last one that the guest's kernel requested, and "changes" is the
# kernel's own count. Nothing here requests anything.
vcpu=$1 seconds=$2
shift 2
policy=/sys/devices/system/cpu/cpufreq/policy$vcpu
window=10 # hundredths of a second
per_load=200
per_report=25

# Set "now" to the uptime in hundredths of a second, without a new process.
look() {
    read -r now _ </proc/uptime
    now=${now%.*}${now#*.}
}

report() {
    read -r khz <"$policy/scaling_cur_freq"
    read -r changes <"$policy/stats/total_trans"
    read -r governor <"$policy/scaling_governor"
    echo "@ vcpu=$vcpu ms=$(((now - began) * 10)) load=$load khz=$khz" \
        "changes=$changes governor=$governor"
}

look
began=$now end=$((now + seconds * 100)) reported=$now
while [ "$now" -lt $end ]; do
    load=$1
    shift
    set -- "$@" "$load"
    load_end=$((now + per_load))
    while [ "$now" -lt $load_end ] && [ "$now" -lt $end ]; do
        idle_from=$((now + load / window))
        window_end=$((now + window))
        while [ "$now" -lt $idle_from ]; do look; done
        [ "$now" -ge $window_end ] || usleep $(((window_end - now) * 10000))
        look
        if [ $((now - reported)) -ge $per_report ]; then
            reported=$now
            report
        fi
    done
done
report
