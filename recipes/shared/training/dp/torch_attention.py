"""`nn.MultiheadAttention` with its linear maps in sight: where each meets its input and output.

The module computes them within one function, so a hook sees none of them. What is computed is the
same: A. Vaswani et al.: Attention is all you need, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Rows = tuple[Tensor, slice]
Map = Callable[[Tensor, Rows, Rows | None], Tensor]
"""(input, rows of a weight, rows of a bias) → the input mapped by them; whose it is notes it."""

_ALL = slice(None)


def attend(
    layer: Any,
    linear: Map,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """As `nn.MultiheadAttention.forward` with `batch_first=True`: (n, targets, features), and the
    attention's weights (n, targets, sources), by head (n, heads, …) or None.

    query (n, targets, …), key and value (n, sources, …); masks as there. `is_causal` only says that
    `attn_mask` is: ValueError is raised where there is none.
    """
    if is_causal and attn_mask is None:
        raise ValueError("is_causal says of attn_mask that it is causal: give that too")
    dropout = layer.dropout if layer.training else 0.0
    q, k, v = (_heads(layer, x) for x in _projected(layer, linear, query, key, value))
    mask = _mask(layer, q, k, attn_mask, key_padding_mask)
    if layer.add_zero_attn:
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        mask = None if mask is None else F.pad(mask, (0, 1))
    weights = None
    if need_weights:
        scores = (q * layer.head_dim**-0.5) @ k.mT
        weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
        weights = F.dropout(weights, dropout) if dropout else weights
        result = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        result = F.scaled_dot_product_attention(q, k, v, mask, dropout)
    merged = result.transpose(1, 2).flatten(2)
    out = layer.out_proj
    return linear(merged, (out.weight, _ALL), _rows(out.bias, _ALL)), weights


def _projected(
    layer: Any, linear: Map, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, ...]:
    """Queries, keys and values: (n, positions, features) each."""
    size = layer.embed_dim
    parts = [slice(size * part, size * (part + 1)) for part in range(3)]
    biases = [_rows(layer.in_proj_bias, rows) for rows in parts]
    inputs = (query, key, value)
    packed = layer.in_proj_weight
    if packed is not None and query is key and key is value:
        whole = linear(query, (packed, _ALL), _rows(layer.in_proj_bias, _ALL))
        return whole.chunk(3, dim=-1)
    if packed is not None:
        weights = [(packed, rows) for rows in parts]
    else:  # keys or values of another size
        apart = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
        weights = [(weight, _ALL) for weight in apart]
    return tuple(map(linear, inputs, weights, biases))


def _rows(bias: Tensor | None, rows: slice) -> Rows | None:
    return None if bias is None else (bias, rows)


def _heads(layer: Any, x: Tensor) -> Tensor:
    """(n, positions, features) to (n, heads, positions, features of a head)."""
    apart: Tensor = x.unflatten(-1, (layer.num_heads, layer.head_dim))
    return apart.transpose(1, 2)


def _mask(
    layer: Any, q: Tensor, k: Tensor, attention: Tensor | None, padding: Tensor | None
) -> Tensor | None:
    """What is added to the scores, of a shape that (n, heads, targets, sources) takes."""
    masks: list[Tensor] = []
    if attention is not None:
        by_head = attention.dim() == 3
        shaped = attention.unflatten(0, (len(q), layer.num_heads)) if by_head else attention
        masks.append(_added(shaped, q))
    if padding is not None:
        masks.append(_added(padding[:, None, None, :], q))
    if len(masks) == 2:
        return masks[0] + masks[1]
    return masks[0] if masks else None


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Minus infinity where a mask of truth values says so; other masks are what is added."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))
