#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run a target of the Makefile under another Debian release, with its Python, libvirt,
# QEMU, DPDK and compiler:
#
#     bash scripts/release.sh trixie test
#
# The release is installed in .cache/releases at the first run (a minute) and keeps its
# packages, .venv and .cache there. Each run copies this checkout into it. The target
# runs in namespaces for mounts and processes: it leaves neither behind. ARGS is passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly certificates=/etc/ssl/certs/ca-certificates.crt
# In the release: its own package of certificates would overwrite the same path.
readonly copied_certificates=/etc/ssl/host-certificates.crt
readonly default_mirror=http://deb.debian.org/debian

readonly unavailable=69  # EX_UNAVAILABLE of sysexits.h

fail() {
    printf 'release: %s\n' "$*" >&2
    exit 1
}

# What is missing is not a fault of the checkout: an exit status of its own.
fail_unavailable() {
    printf 'release: %s\n' "$*" >&2
    exit "$unavailable"
}

# The mirror that this machine uses for Debian, if its package lists name one.
find_mirror() {
    local mirror
    # shellcheck disable=SC2016  # apt-get expands these
    mirror=$(apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(SITE)' |
        sed -n 's|^Debian/Debian ||p' | head -n 1)
    printf '%s\n' "${mirror:-$default_mirror}"
}

install_release() {
    local release=$1 root=$2 mirror
    mirror=$(find_mirror)
    printf 'release: installing %s from %s\n' "$release" "$mirror" >&2
    rm -rf "$root.new"
    bootstrap "$release" "$root.new" "$mirror" ||
        fail_unavailable "cannot install $release from $mirror:" \
            "check the network and the mirror"
    mv "$root.new" "$root"
}

bootstrap() {
    local release=$1 root=$2 mirror=$3
    if command -v mmdebstrap >/dev/null; then
        mmdebstrap --quiet --variant=minbase --include=make \
            "$release" "$root" "$mirror"
    elif command -v debootstrap >/dev/null; then
        debootstrap --variant=minbase --include=make \
            "$release" "$root" "$mirror" >/dev/null
    else
        fail_unavailable "neither mmdebstrap nor debootstrap found: install one of them"
    fi
}

# How to reach the network, as on this machine.
copy_network_settings() {
    local root=$1 file
    mkdir -p "$root/etc/ssl"
    for file in /etc/resolv.conf /etc/hosts; do
        if [[ -e $file ]]; then cp -L --remove-destination "$file" "$root$file"; fi
    done
    if [[ -e $certificates ]]; then
        cp -L "$certificates" "$root$copied_certificates"
    fi
}

# All files except ignored ones; .venv and .cache of the release are kept.
copy_checkout() {
    local target=$1
    mkdir -p "$target"
    find "$target" -mindepth 1 -maxdepth 1 ! -name .venv ! -name .cache \
        -exec rm -rf {} +
    comm -z -23 <(git ls-files -z --cached --others --exclude-standard | sort -z) \
        <(git ls-files -z --deleted | sort -z) |
        tar -c --null -T - | tar -x --no-same-owner -C "$target"
}

# Runs in new namespaces; standard input stays the terminal.
readonly enter='
set -e
root=$1; shift
# A mount point, as / always is; the rig changes how it propagates.
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
exec chroot "$root" env -i "$@"
'

run_make() {
    local root=$1 target=$2 name settings
    settings=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        HOME=/root LANG=C.UTF-8 "TERM=${TERM:-dumb}")
    if [[ -e $root$copied_certificates ]]; then
        settings+=("SSL_CERT_FILE=$copied_certificates"
            "PIP_CERT=$copied_certificates")
    fi
    for name in http_proxy https_proxy no_proxy PIP_INDEX_URL PYTHONUNBUFFERED \
        VMPOWER_OLDEST; do
        if [[ -n ${!name:-} ]]; then settings+=("$name=${!name}"); fi
    done
    unshare --mount --pid --fork --kill-child --propagation private \
        bash -c "$enter" enter "$root" "${settings[@]}" \
        make --no-print-directory -C /vmpower "$target" "ARGS=${ARGS:-}"
}

main() {
    [[ $# -eq 2 ]] || fail "usage: scripts/release.sh RELEASE TARGET"
    [[ $(id -u) -eq 0 ]] || fail_unavailable "root privileges are needed: run this as root"
    command -v git >/dev/null || fail_unavailable "git not found: install git"
    local release=$1 target=$2 directory root
    directory=${VMPOWER_CACHE:-.cache}/releases
    mkdir -p "$directory"
    root=$(realpath "$directory")/$release

    # One run at a time in each release.
    exec 9>"$root.lock"
    flock 9
    [[ -d $root ]] || install_release "$release" "$root"
    copy_network_settings "$root"
    copy_checkout "$root/vmpower"
    # Separately: what fails here is the network, and no test.
    run_make "$root" setup ||
        fail_unavailable "cannot install packages in $release:" \
            "check the network, the mirror and PyPI"
    run_make "$root" "$target" || fail "make $target failed under $release"
}

main "$@"
