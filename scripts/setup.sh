#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what Duly needs on Debian 12, Debian 13 and Ubuntu 24.04 or later. Safe to run again: what is there
# is left alone, and when everything is there nothing is asked of apt or the network.
#
#   scripts/setup.sh [PROFILE...]     default: all of them
#     build    compile and run: apt packages, ONNX Runtime
#     test     what the integration tests need: Python environments, Node packages and load tools in .deps
#     models   the Python environment .deps/venv, and the models that are fetched and converted
#     lint     clang, clang-format, clang-tidy
#     clang    the other compiler, with its sanitizers and libFuzzer
#     aarch64  the cross compiler, qemu-user, and the libraries for it in .deps/aarch64 (not among the default)
#
#   ONNXRUNTIME_ROOT=DIR     use this installation (DIR/include, DIR/lib) instead of getting one
#   DULY_ONNXRUNTIME=wheel   unpack the pinned library into .deps/ although the distribution has one
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
deps=$PWD/.deps
log=$deps/setup.log

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# Runs a command quietly; shows the end of its output when it fails.
quietly() {
  if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    return 1
  fi
}

distribution=unknown
suite=
if [[ -r /etc/os-release ]]; then
  # shellcheck source=/dev/null
  distribution=$(. /etc/os-release && echo "${ID:-unknown}-${VERSION_ID:-}")
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
fi

# The suite whose libonnxruntime-dev serves a distribution that has none; empty: it has its own.
headers_suite=
case $distribution in
  debian-12) headers_suite=forky ;;
  ubuntu-24.*) headers_suite=resolute ;;
  *) if [[ ${DULY_ONNXRUNTIME:-} == wheel ]]; then headers_suite=$suite; fi ;;
esac

build_packages() {
  echo build-essential cmake ninja-build pkg-config ca-certificates python3 python3-venv \
    libsimdjson-dev libdragonbox-dev nlohmann-json3-dev libyaml-cpp-dev libfmt-dev libspdlog-dev \
    libcli11-dev prometheus-cpp-dev libhwloc-dev libexpected-dev libgtest-dev libgmock-dev \
    libbenchmark-dev protobuf-compiler libprotobuf-dev protobuf-compiler-grpc libgrpc++-dev libnghttp2-dev zlib1g-dev libssl-dev
  # Debian 12's default Boost, 1.74, lacks what Beast and Asio have learned since.
  if [[ $distribution == debian-12 ]]; then echo libboost1.81-dev; else echo libboost-dev; fi
  if [[ -z $headers_suite && -z ${ONNXRUNTIME_ROOT:-} ]]; then echo libonnxruntime-dev; fi
}

missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      echo "$package"
  done
}

install_packages() {
  local missing as_root=() apt
  command -v dpkg-query >/dev/null || die "this is not a Debian or Ubuntu system; install by hand what $0 names"
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    if command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
      as_root=(sudo)
    else
      die "these packages are missing and there is no root access; as root, run:" \
        "  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
  fi
  say "installing ${#missing[@]} packages with apt: ${missing[*]}"
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
  # Package lists that are there are tried first; fetching them again is the slower way.
  quietly "${apt[@]}" install -y --no-install-recommends "${missing[@]}" 2>/dev/null && return 0
  quietly "${apt[@]}" update || die "apt-get update failed"
  quietly "${apt[@]}" install -y --no-install-recommends "${missing[@]}" || die "apt-get install failed"
}

# make_venv: .deps/venv by the distribution's Python where it is recent enough.
make_venv() {
  local python
  "$deps/venv/bin/python" -m pip --version >/dev/null 2>&1 && return 0
  for python in /usr/bin/python3 python3; do
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    say "creating the Python environment .deps/venv"
    rm -rf "$deps/venv"
    quietly "$python" -m venv "$deps/venv" && return 0
  done
  die "no Python 3.11 or later with venv was found"
}

pip() { "$deps/venv/bin/python" -m pip --disable-pip-version-check "$@"; }

install_python_packages() {
  local stamp=$deps/venv/requirements.sha256
  sha256sum --status -c "$stamp" 2>/dev/null && "$deps/venv/bin/python" -c '' 2>/dev/null && return 0
  make_venv
  say "installing tests/requirements.txt into .deps/venv"
  quietly pip install --only-binary :all: -r tests/requirements.txt ||
    die "pip install failed"
  sha256sum tests/requirements.txt >"$stamp"
}

# perf_analyzer comes in a wheel of an older tritonclient, for x86-64 only; unpacked, not installed: the clients
# in .deps/venv are newer.
fetch_perf_analyzer() {
  local target=$deps/perf_analyzer list=tests/clients/perf_analyzer.txt work
  [[ $(uname -m) == x86_64 ]] || return 0
  case $distribution in debian-12 | ubuntu-2[24].*) install_packages libb64-0d ;; esac
  sha256sum --status -c "$target/stamp" 2>/dev/null && return 0
  make_venv
  say "getting perf_analyzer into .deps/perf_analyzer"
  work=$(mktemp -d "$deps/perf_analyzer.XXXXXX")
  quietly pip download --no-deps --only-binary :all: --require-hashes -r "$list" --platform manylinux1_x86_64 \
    --platform manylinux2014_x86_64 -d "$work" || die "the perf_analyzer wheels could not be had"
  for wheel in "$work"/*.whl; do "$deps/venv/bin/python" -m zipfile -e "$wheel" "$work/unpacked"; done
  mkdir "$work/root"
  mv "$work"/unpacked/tritonclient-*.data/data/bin/perf_analyzer "$work"/unpacked/nvidia/cuda_runtime/lib/libcudart.so.* \
    "$work/root"
  chmod +x "$work/root/perf_analyzer"
  sha256sum "$list" >"$work/root/stamp"
  rm -rf "$target"
  mv "$work/root" "$target"
  rm -rf "$work"
}

# KServe's clients have messages of the same names as tritonclient's, which one process cannot hold.
install_kserve() {
  local target=$deps/kserve list=tests/clients/kserve.txt
  sha256sum --status -c "$target/stamp" 2>/dev/null && "$target/bin/python" -c '' 2>/dev/null && return 0
  make_venv
  say "installing $list into .deps/kserve"
  rm -rf "$target"
  quietly "$deps/venv/bin/python" -m venv "$target" || die "no Python environment could be made in .deps/kserve"
  quietly "$target/bin/python" -m pip --disable-pip-version-check install --only-binary :all: -r "$list" ||
    die "pip install failed"
  sha256sum "$list" >"$target/stamp"
}

# Execution providers beside the CPU's for the tests, on x86-64 only: an ONNX Runtime with OpenVINO's built in (of
# which the CPU's device stays), and a plug-in, WebGPU's.
fetch_providers() {
  local target=$deps/providers list=scripts/providers.txt work
  [[ $(uname -m) == x86_64 ]] || return 0
  sha256sum --status -c "$target/stamp" 2>/dev/null && return 0
  make_venv
  say "getting execution providers of ONNX Runtime into .deps/providers: OpenVINO, WebGPU"
  work=$(mktemp -d "$deps/providers.XXXXXX")
  quietly pip download --no-deps --only-binary :all: --require-hashes -r "$list" \
    --implementation cp --python-version 3.11 --abi cp311 --abi none --platform manylinux_2_28_x86_64 -d "$work" ||
    die "the wheels of $list could not be had"
  for wheel in "$work"/*.whl; do "$deps/venv/bin/python" -m zipfile -e "$wheel" "$work/unpacked"; done
  mkdir -p "$work/root/openvino"
  mv "$work"/unpacked/onnxruntime_ep_webgpu/*.so "$work/root"
  (cd "$work/unpacked/onnxruntime/capi" &&
    mv libonnxruntime.so.* libonnxruntime_providers_{shared,openvino}.so libopenvino{,_onnx_frontend}.so.???? \
      libopenvino_intel_cpu_plugin.so libtbb*.so* "$work/root/openvino")
  ln -s "$(cd "$work/root/openvino" && echo libonnxruntime.so.*)" "$work/root/openvino/libonnxruntime.so.1"
  sha256sum "$list" >"$work/root/stamp"
  rm -rf "$target"
  mv "$work/root" "$target"
  rm -rf "$work"
}

# Node of whatever origin serves; others than Debian's bring npm along.
install_node_packages() {
  local target=$deps/node list=tests/clients/node/package-lock.json
  if ! command -v npm >/dev/null || ! command -v node >/dev/null; then install_packages nodejs npm; fi
  sha256sum --status -c "$target/stamp" 2>/dev/null && return 0
  say "installing the packages of $list into .deps/node"
  rm -rf "$target"
  mkdir -p "$target"
  cp tests/clients/node/package{,-lock}.json "$target"
  (cd "$target" && quietly npm ci --ignore-scripts --no-audit --no-fund) || die "npm ci failed"
  sha256sum "$list" >"$target/stamp"
}

# newer_sources DIR: the machine's own apt sources with the suite replaced by the newer one. Third-party
# sources name other suites, as a rule, and so drop out.
newer_sources() {
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [[ -r $file ]] || continue
    awk -v old="$suite" -v new="$headers_suite" '
      BEGIN { RS = ""; ORS = "\n\n" }
      !/(^|\n)Enabled:[ \t]*no/ && $0 ~ "(^|\n)Suites:([^\n]*[ \t])?" old "/?([ \t\n]|$)" {
        sub(/(^|\n)Suites:[^\n]*/, "\nSuites: " new)
        sub(/^\n/, "")
        print
      }' "$file" >"$1/$(basename "$file")"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -r $file ]] || continue
    sed -nE "s|^[ \t]*(deb[ \t]+(\[[^]]*\][ \t]+)?[^ \t]+[ \t]+)$suite([ \t]+)|\1$headers_suite\3|p" "$file" \
      >"$1/$(basename "$file")"
  done
  find "$1" -type f -empty -delete
  find "$1" -type f | grep -q . || die "found no apt source of $suite to derive one of $headers_suite from"
}

# private_apt DIR: apt-get options for lists and cache of their own in DIR: nothing is installed, and the machine's apt
# learns nothing. Sets `options`.
private_apt() {
  mkdir -p "$1"/{lists/partial,cache/archives/partial}
  options=(-qq -o "Dir::State::Lists=$1/lists" -o "Dir::Cache=$1/cache"
    -o "APT::Sandbox::User=" -o "Acquire::Languages=none"
    -o "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"
    -o "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false")
}

# fetch_headers DIR: unpacks the newer suite's libonnxruntime-dev into DIR.
fetch_headers() {
  local work=$1/apt options
  mkdir -p "$work"/{sources,deb}
  newer_sources "$work/sources"
  private_apt "$work"
  options+=(-o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$work/sources")
  quietly apt-get "${options[@]}" update || die "apt-get update for $headers_suite failed"
  (cd "$work/deb" && quietly apt-get "${options[@]}" download "libonnxruntime-dev/$headers_suite") ||
    die "libonnxruntime-dev of $headers_suite could not be had"
  dpkg-deb -x "$work"/deb/libonnxruntime-dev_*.deb "$1/unpacked"
}

# unpack_onnxruntime MACHINE WORK ROOT: the wheel's library into ROOT/lib.
unpack_onnxruntime() {
  local wheel=$2/wheel library
  quietly pip download --no-deps --only-binary :all: --require-hashes -r scripts/onnxruntime.txt \
    --implementation cp --python-version 3.11 --abi cp311 --platform "manylinux_2_28_$1" \
    -d "$wheel" || die "the onnxruntime wheel could not be had"
  "$deps/venv/bin/python" -m zipfile -e "$wheel"/onnxruntime-*.whl "$wheel"
  mkdir -p "$3/lib"
  mv "$wheel/onnxruntime/LICENSE" "$wheel/onnxruntime/ThirdPartyNotices.txt" "$3"
  library=$(cd "$wheel/onnxruntime/capi" && echo libonnxruntime.so.*)
  mv "$wheel/onnxruntime/capi/$library" "$3/lib"
  ln -s "$library" "$3/lib/libonnxruntime.so.1"
  ln -s libonnxruntime.so.1 "$3/lib/libonnxruntime.so"
}

fetch_onnxruntime() {
  local target=$deps/onnxruntime stamp work
  stamp=$({ echo "$headers_suite"; cat scripts/onnxruntime.txt; } | sha256sum)
  [[ -e $target/lib/libonnxruntime.so && $(cat "$target/stamp" 2>/dev/null) == "$stamp" ]] && return 0
  make_venv
  say "getting ONNX Runtime into .deps/onnxruntime: headers of $headers_suite's libonnxruntime-dev," \
    "library of the official Python wheel"
  work=$(mktemp -d "$deps/onnxruntime.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  fetch_headers "$work"
  mkdir -p "$work/root"
  mv "$work/unpacked/usr/include/onnxruntime" "$work/root/include"
  unpack_onnxruntime "$(uname -m)" "$work" "$work/root"
  echo "$stamp" >"$work/root/stamp"
  rm -rf "$target"
  mv "$work/root" "$target"
  rm -rf "$work"
  trap - EXIT
}

profile_build() {
  # shellcheck disable=SC2046
  install_packages $(build_packages)
  if [[ -n ${ONNXRUNTIME_ROOT:-} ]]; then
    [[ -e $ONNXRUNTIME_ROOT/lib/libonnxruntime.so ]] ||
      die "ONNXRUNTIME_ROOT=$ONNXRUNTIME_ROOT holds no lib/libonnxruntime.so"
  elif [[ -n $headers_suite ]]; then
    fetch_onnxruntime
  fi
}

profile_test() {
  install_packages ca-certificates curl openssl python3 python3-venv
  install_python_packages
  fetch_perf_analyzer
  fetch_providers
  install_kserve
  install_node_packages
}

profile_models() {
  install_packages ca-certificates python3 python3-venv
  install_python_packages
  if [[ -x models/fetch.sh ]]; then models/fetch.sh; fi
}

profile_lint() { install_packages python3 clang clang-format clang-tidy; }

profile_clang() {
  install_packages clang
  install_packages "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
}

# The libraries of build_packages for arm64, unpacked and not installed, so that the machine keeps one architecture.
# ONNX Runtime is among them or, from the wheel, in opt/onnxruntime.
fetch_sysroot() {
  local target=$deps/aarch64 stamp work options libraries file link
  mapfile -t libraries < <(build_packages | tr ' ' '\n' | grep -E -- '-dev$|-dev-')
  stamp=$(printf '%s\n' "${libraries[@]}" "$distribution" "$(cat scripts/onnxruntime.txt)" | sha256sum)
  [[ $(cat "$target/stamp" 2>/dev/null) == "$stamp" ]] && return 0
  say "getting the libraries for aarch64 into .deps/aarch64"
  work=$(mktemp -d "$deps/aarch64.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  private_apt "$work/apt"
  touch "$work/status"
  options+=(-o "APT::Architecture=arm64" -o "APT::Architectures::=arm64" -o "Dir::State=$work/apt"
    -o "Dir::State::status=$work/status" -o "APT::Install-Recommends=false")
  quietly apt-get "${options[@]}" update || die "apt-get update for arm64 failed"
  quietly apt-get "${options[@]}" install --download-only --yes libc6-dev protobuf-compiler-grpc "${libraries[@]}" ||
    die "the libraries for arm64 could not be had"
  mkdir "$work/root"
  # libraries.txt: file name, package, version, for cmake/cross_depends.cmake.
  for file in "$work"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$file" "$work/root"
    [[ $file != *-dev_* ]] || continue
    dpkg-deb -c "$file" | grep -oE '[^/ ]+\.so(\.[0-9]+)+( |$)' | sed "s|\$| $(dpkg-deb --show "$file" | sed 's/:arm64//;s/\t/ /')|;s/  / /" \
      >>"$work/root/libraries.txt" || true
  done
  # Links are followed outside that root.
  find "$work/root" -lname '/*' | while read -r file; do
    link=$(readlink "$file")
    ln -sfr "$work/root$link" "$file"
  done
  if [[ -n $headers_suite ]]; then
    make_venv
    mkdir -p "$work/root/opt/onnxruntime"
    cp -r "$deps/onnxruntime/include" "$work/root/opt/onnxruntime"
    unpack_onnxruntime aarch64 "$work" "$work/root/opt/onnxruntime"
  fi
  echo "$stamp" >"$work/root/stamp"
  rm -rf "$target"
  mv "$work/root" "$target"
  rm -rf "$work"
  trap - EXIT
}

profile_aarch64() {
  install_packages g++-aarch64-linux-gnu qemu-user
  fetch_sysroot
}

profiles=("$@")
((${#profiles[@]})) || profiles=(build test models lint clang)
for profile in "${profiles[@]}"; do
  case $profile in
    build | test | models | lint | clang | aarch64) ;;
    *) die "unknown profile '$profile': expected build, test, models, lint, clang or aarch64" ;;
  esac
done

mkdir -p "$deps"
# Checkouts may share .deps, and make may be run twice.
exec 9>"$deps/lock"
flock 9
for profile in "${profiles[@]}"; do "profile_$profile"; done
say "ready (${profiles[*]})"
