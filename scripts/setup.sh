#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepare this checkout: install Debian packages, .venv, the package and its tools.
#
# With nothing to do it takes well under a second: the stamp in .venv is a hash of
# everything that the installation depends on. With VMPOWER_OLDEST=1 the virtual environment
# gets the oldest versions that pyproject.toml permits, which are Debian 13's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp=$venv/.vmpower-setup

log() { printf 'setup: %s\n' "$*" >&2; }

wanted_packages() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' scripts/packages.txt; }

missing_packages() {
    local package
    for package in $(wanted_packages); do
        # "ii" and "hi": installed, and installed and on hold.
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null |
            grep -q '^.i' || printf '%s\n' "$package"
    done
}

is_debian() {
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null &&
        (. /etc/os-release && [[ " ${ID:-} ${ID_LIKE:-} " == *" debian "* ]])
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        log "root privileges are needed and sudo is not installed; run this as root,"
        log "then run setup again:"
        log "  $*"
        exit 1
    fi
}

install_packages() {
    local missing
    if ! is_debian; then
        if [[ -n ${VMPOWER_SKIP_PACKAGES:-} ]]; then
            return
        fi
        log "not a Debian system: install the equivalents of these Debian packages:"
        log "  $(wanted_packages | tr '\n' ' ')"
        log "then run setup again with VMPOWER_SKIP_PACKAGES=1"
        exit 1
    fi
    missing=$(missing_packages)
    [[ -n $missing ]] || return 0
    log "installing $(tr '\n' ' ' <<<"$missing")"
    local apt=(apt-get -q -o DPkg::Lock::Timeout=300)
    as_root env DEBIAN_FRONTEND=noninteractive "${apt[@]}" update ||
        log "apt-get update failed; continuing with the existing package lists"
    # shellcheck disable=SC2086  # one word per package
    as_root env DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y \
        --no-install-recommends $missing
}

# Prefer Debian's Python: test guests run it, too, and can then use the compiled
# modules of the virtual environment.
pick_python() {
    local candidate
    for candidate in /usr/bin/python3 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    log "Python 3.11 or newer is required; found: $(python3 -V 2>&1 || true)"
    exit 1
}

fingerprint() {
    cat pyproject.toml scripts/setup.sh scripts/packages.txt scripts/oldest.txt | sha256sum
    printf 'oldest=%s\n' "${VMPOWER_OLDEST:-}"
    "$1" -V
    pwd -P # the virtual environment holds absolute paths
}

install_python_side() {
    local python=$1 wanted=$2 constraints=()
    if [[ -n ${VMPOWER_OLDEST:-} ]]; then constraints=(-c scripts/oldest.txt); fi
    # pip keeps versions that are permitted: an environment with the oldest ones, too.
    if ! grep -qx "oldest=${VMPOWER_OLDEST:-}" "$stamp" 2>/dev/null ||
        ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        log "creating $venv with $python"
        "$python" -m venv --clear "$venv"
    fi
    log "installing vmpower and its tools into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        "${constraints[@]}" -e '.[dev]'
    printf '%s\n' "$wanted" >"$stamp"
}

main() {
    # Serialize concurrent runs, such as of a demo and a test run.
    mkdir -p .cache
    exec 9>.cache/setup.lock
    if command -v flock >/dev/null; then flock 9; fi

    install_packages
    local python wanted
    python=$(pick_python)
    wanted=$(fingerprint "$python")
    if [[ ! -x $venv/bin/vmpowerd || $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
        install_python_side "$python" "$wanted"
    fi
}

main "$@"
