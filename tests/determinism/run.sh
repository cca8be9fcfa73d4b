#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every scenario twice, in builds of two compilers at two optimisation levels: all must take the same decisions at
# the same nanosecond. Only rings 1 and 2, the simulator and the event log are built. `make determinism` ends here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=20

expected=
for compiler in g++ clang++; do
  for level in -O0 -O3; do
    build=build/determinism/$compiler$level
    mkdir -p "$build"
    cmake -S . -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Debug \
      -DCMAKE_CXX_FLAGS_DEBUG="$level" -DDULY_WERROR=OFF -DCMAKE_UNITY_BUILD=ON \
      -DCMAKE_UNITY_BUILD_BATCH_SIZE=0 >"$build/configure.log" 2>&1 || { cat "$build/configure.log"; exit 1; }
    cmake --build "$build" --parallel "${JOBS:-2}" --target scenario_hashes >"$build/build.log" 2>&1 ||
      { cat "$build/build.log"; exit 1; }
    for run in 1 2; do
      hashes=$("$build/tests/scenario_hashes" "$seconds" scenarios/*.yaml)
      expected=${expected:-$hashes}
      if [[ $hashes != "$expected" ]]; then
        echo "$compiler $level, run $run, decides otherwise than the first run:"
        diff <(echo "$expected") <(echo "$hashes") || true
        exit 1
      fi
    done
    echo "$compiler $level: $(wc -l <<<"$hashes") event logs, all as before, twice"
  done
done
