#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A container image from the distribution's packages and Duly's alone: no base image, no registry, no container engine.
#
#   make deb && sudo deploy/oci/image.sh build/release/duly_0.1.0_amd64.deb duly.oci.tar
#   podman load -i duly.oci.tar        # or: skopeo copy oci-archive:duly.oci.tar docker-daemon:duly:0.1.0
#
# Needs mmdebstrap. The distribution is that of this machine, and so must be the package's: it names its libraries.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
  printf 'image: %s\n' "$@" >&2
  exit 1
}

(($# == 2)) || die "usage: $0 DULY.deb IMAGE.oci.tar"
package=$(realpath "$1")
image=$(realpath -m "$2")
[[ -f $package ]] || die "$1: no such package; make one with: make deb"
command -v mmdebstrap >/dev/null || die "mmdebstrap is missing: apt-get install mmdebstrap"
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
architecture=$(dpkg-deb --field "$package" Architecture)
version=$(dpkg-deb --field "$package" Version)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=minbase --include=ca-certificates --architectures="$architecture" \
  --dpkgopt='path-exclude=/usr/share/{doc,man,locale,info}/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --aptopt='APT::Install-Recommends "false"' \
  --customize-hook="cp '$package' \"\$1/duly.deb\"" \
  --customize-hook='chroot "$1" apt-get -qq install --yes /duly.deb >/dev/null' \
  --customize-hook='rm -rf "$1/duly.deb" "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*' \
  --customize-hook='mkdir "$1/models"' \
  "$suite" "$work/root.tar"
"$here/layout.py" "$work/root.tar" "$image" --architecture "$architecture" --version "$version"
printf 'image: %s: duly:%s for %s, %s\n' "$2" "$version" "$architecture" "$(du -h "$image" | cut -f1)"
