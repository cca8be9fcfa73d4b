#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches and converts the pretrained models: models/fetch.py under the environment that
# scripts/setup.sh makes, or under another Python that has pip, numpy and onnx.
#
#   models/fetch.sh [--python PYTHON] [OPTION OF fetch.py]...
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.deps/venv/bin/python
if [[ ${1-} == --python ]]; then
  python=${2:?--python needs a value}
  shift 2
fi
exec "$python" "$root/models/fetch.py" "$@"
