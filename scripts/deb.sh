#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the Debian packages into dist/:
#
#     bash scripts/deb.sh
#
# On Debian 13 and later vmpower uses Debian's own Python libraries, and one package is
# for all architectures. On Debian 12, whose libraries are too old, vmpower contains them:
# wheels are fetched into .cache first, and the build itself needs no network.
# VMPOWER_DEB_RELEASE=13 builds the package of another release, if that is one without
# libraries; VMPOWER_DEB_VERSION replaces the version, to test upgrades, and
# VMPOWER_DEB_OUTPUT is another directory than dist/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022

readonly first_release=13  # whose own libraries suffice
readonly wheel_cache=.cache/deb
readonly output=${VMPOWER_DEB_OUTPUT:-dist}

fail() {
    printf 'deb: %s\n' "$*" >&2
    exit 1
}

version_of_release() {
    (. /etc/os-release && printf '%s\n' "${VERSION_ID:-$first_release}")
}

# The last commit's time; of a source archive, that of its newest document.
source_date() {
    git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md
}

list_files() {
    git ls-files -z --cached --others --exclude-standard 2>/dev/null ||
        find . -type f ! -path './.*' ! -path './dist/*' -print0
}

copy_sources() {
    local target=$1
    rm -rf "$target"
    mkdir -p "$target"
    # Deleted files are still in git's list until the next commit.
    list_files | while IFS= read -r -d '' file; do
        if [[ -e $file ]]; then printf '%s\0' "$file"; fi
    done | tar -c --null -T - | tar -x --no-same-owner -C "$target"
    cp -r packaging/debian "$target/debian"
}

write_changelog() {
    local version=$1 file=$2
    cat >"$file" <<EOF
vmpower ($version) stable; urgency=medium

  * See /usr/share/doc/vmpower/CHANGELOG.md.gz.

 -- vmpower maintainers <vmpower@packages.debian.org>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
EOF
}

# Fetched once for each set of dependencies; libvirt-python is built against this
# release's libvirt.
fetch_wheels() {
    local directory=$1
    if [[ -e $directory/requirements.txt ]]; then return; fi
    rm -rf "$directory.new"
    mkdir -p "$directory.new"
    /usr/bin/python3 -c '
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], sep="\n")' >"$directory.new/requirements"
    /usr/bin/python3 -m venv "$directory.new/venv"
    "$directory.new/venv/bin/python" -m pip --disable-pip-version-check wheel --quiet \
        --wheel-dir "$directory.new" -r "$directory.new/requirements" ||
        fail "cannot fetch the libraries: check the network and PyPI"
    rm -rf "$directory.new/venv"
    mv "$directory.new/requirements" "$directory.new/requirements.txt"
    rm -rf "$directory"
    mv "$directory.new" "$directory"
}

main() {
    local release version sources wheels package work
    command -v dh >/dev/null || fail "debhelper not found: install debhelper and dh-python"
    release=${VMPOWER_DEB_RELEASE:-$(version_of_release)}
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' orchestrator/__init__.py)
    version=${VMPOWER_DEB_VERSION:-$version}
    mkdir -p "$wheel_cache" "$output"
    # The directory's name must not matter: a build beside another one has its own.
    work=$(mktemp -d "$wheel_cache/build-XXXXXX")
    # shellcheck disable=SC2064  # its name now
    trap "rm -rf '$work'" EXIT
    sources=$work/vmpower
    SOURCE_DATE_EPOCH=$(source_date)
    export SOURCE_DATE_EPOCH DEB_BUILD_OPTIONS=noautodbgsym
    unset VMPOWER_WHEELS
    copy_sources "$sources"
    if [[ $release -lt $first_release ]]; then
        version+="~deb$release"
        wheels=$(realpath "$wheel_cache")/wheels-$(sha256sum pyproject.toml | cut -c 1-12)
        fetch_wheels "$wheels"
        export VMPOWER_WHEELS=$wheels
        # The first package is vmpower; it contains compiled libraries.
        sed -i '0,/^Architecture: all/s//Architecture: any/' "$sources/debian/control"
    fi
    write_changelog "$version" "$sources/debian/changelog"
    # -d: Build-Depends are those of the archive's builds; fetch_wheels has its own pip.
    (cd "$sources" && dpkg-buildpackage -b -us -uc -d >../build.log 2>&1) ||
        { tail -n 50 "$work/build.log" >&2; fail "the build failed"; }
    for package in "$work"/*.deb; do
        mv "$package" "$output/"
        printf '%s\n' "$output/$(basename "$package")"
    done
}

main "$@"
