#!/bin/bash
# Writes what a Pi's kernel says of its CPU; programs look there for what they may use.
# usage: kernel-files.sh DEVICE_DIR, with CPUINFO (text of /proc/cpuinfo) and CPUS (how many) in the environment
set -euo pipefail
device_dir=$1
cpu_dir=$device_dir/sys/devices/system/cpu

mkdir -p "$device_dir/proc" "$cpu_dir"
printf '%s\n' "${CPUINFO%$'\n'}" > "$device_dir/proc/cpuinfo"
[ "$CPUS" -gt 1 ] && range=0-$((CPUS - 1)) || range=0
for file in possible present online; do
    echo "$range" > "$cpu_dir/$file"
done
for ((cpu = 0; cpu < CPUS; cpu++)); do
    mkdir "$cpu_dir/cpu$cpu"
done
