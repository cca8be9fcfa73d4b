# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite in numpy with nothing folded: what convert.py is held against."""

import numpy as np
from convert import EPSILON, INPUT_EDGE, STAGE_STRIDES


def resize(x, edge):
    """Bilinear, pixel centres at halves, both edges of x [N,C,H,H]."""
    at = np.clip((np.arange(edge) + 0.5) * x.shape[2] / edge - 0.5, 0, x.shape[2] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, x.shape[2] - 1)
    share = (at - low).astype(np.float32)
    x = x[:, :, low] * (1 - share)[:, None] + x[:, :, high] * share[:, None]
    return x[..., low] * (1 - share) + x[..., high] * share


def convolve(x, kernel, stride):
    """As TensorFlow's SAME; kernel [outputs,1,...] on as many channels is taken as depthwise."""
    size, edge = kernel.shape[2], -(-x.shape[2] // stride)
    total = max((edge - 1) * stride + size - x.shape[2], 0)
    margin = (total // 2, total - total // 2)
    x = np.pad(x, ((0, 0), (0, 0), margin, margin))
    y = np.zeros((len(x), kernel.shape[0], edge, edge), np.float32)
    reach = (edge - 1) * stride + 1
    for i in range(size):
        for j in range(size):
            part = x[:, :, i : i + reach : stride, j : j + reach : stride]
            if kernel.shape[1] == 1:
                y += part * kernel[:, 0, i, j][:, None, None]
            else:
                y += np.einsum("nchw,oc->nohw", part, kernel[:, :, i, j], optimize=True)
    return y


def logits(weights, pictures, edge):
    """Logits of pictures [N,3,224,224], for a network trained on pictures of edge x edge."""

    def layer(x, name, norm, stride=1, relu=True):
        x = convolve(x, weights[f"{name}.weight"], stride)
        mean, variance, scale, shift = (
            weights[f"{norm}.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / np.sqrt(variance + np.float32(EPSILON)) * scale + shift
        return np.clip(x, 0, 6) if relu else x

    x = (pictures - np.float32(127)) / np.float32(128)
    if edge != INPUT_EDGE:
        x = resize(x, edge)
    x = layer(x, "_conv_stem", "_bn0", 2)
    strides, block, width = list(STAGE_STRIDES), 0, None
    while f"_blocks.{block}._depthwise_conv.weight" in weights:
        name, y = f"_blocks.{block}", x
        outputs = weights[f"{name}._project_conv.weight"].shape[0]
        stride = 1 if outputs == width else strides.pop(0)
        if f"{name}._expand_conv.weight" in weights:
            y = layer(y, f"{name}._expand_conv", f"{name}._bn0")
        y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        y = layer(y, f"{name}._project_conv", f"{name}._bn2", relu=False)
        x = x + y if stride == 1 and x.shape[1] == outputs else y
        block, width = block + 1, outputs
    x = layer(x, "_conv_head", "_bn1")
    return x.mean((2, 3)) @ weights["_fc.weight"].T + weights["_fc.bias"]
