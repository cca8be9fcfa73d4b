#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `make demo` ends here: real models under three loads and two policies. Arguments go to demo.py (--help).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec python3 scripts/demo/demo.py "$@"
