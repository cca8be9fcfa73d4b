# SPDX-License-Identifier: Apache-2.0
"""Lets tests import the scripts under models/, which are no package."""

import pathlib
import sys

MODELS = pathlib.Path(__file__).resolve().parent.parent
for folder in ("", "efficientnet-lite", "fashion", "inputs", "magika"):
    sys.path.insert(0, str(MODELS / folder))
