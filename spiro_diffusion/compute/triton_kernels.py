"""Triton kernels of `kernels`; imported only where a GPU and Triton (part of PyTorch's GPU builds) are available."""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048  # numbers that a step of a norm holds
PROGRAMS = 528  # of a norm's backward pass: each sums its rows for the weights; fixed, so that sums have one order
COLUMNS = 16  # of these sums that a program adds up


def norm(
    x: Tensor, weight: Tensor, bias: Tensor, modulation: Tensor | None, eps: float, silu: bool
) -> tuple[Tensor, Tensor]:
    """The norm of x (B, T, C), and mean and 1 / SD of its rows (2, B T)."""
    tokens, channels = x.shape[1:]
    rows = x.shape[0] * tokens
    out, moments = torch.empty_like(x), torch.empty((2, rows), dtype=torch.float32, device=x.device)
    wide = triton.next_power_of_2(channels)
    step = max(1, TILE // wide)
    _norm[(triton.cdiv(rows, step),)](
        x, weight, bias, modulation, out, moments, rows, tokens, eps, channels, wide, step, modulation is not None, silu
    )
    return out, moments


def norm_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor, modulation: Tensor | None, moments: Tensor, silu: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of x, weight, bias and modulation."""
    count, tokens, channels = x.shape
    programs = min(count, PROGRAMS)
    out = torch.empty_like(x)
    sums = torch.empty((2, programs, channels), dtype=torch.float32, device=x.device)
    modulated = None if modulation is None else torch.empty_like(modulation)
    wide = triton.next_power_of_2(channels)
    step = max(1, min(TILE // wide, triton.next_power_of_2(tokens)))
    given, made = (gradient, x, weight, bias, modulation, moments), (out, modulated, sums)
    sizes = count, tokens, programs, channels, wide, step
    _norm_backward[(programs,)](*given, *made, *sizes, modulation is not None, silu)
    of_weight, of_bias = _totals(sums, weight.dtype).unbind(0)
    return out, of_weight, of_bias, modulated


def row_sum(x: Tensor, kind: torch.dtype) -> Tensor:
    """Sum of x (B, T, C) over rows, (C,)."""
    channels = x.shape[-1]
    rows = x.numel() // channels
    wide = triton.next_power_of_2(channels)
    step = max(1, TILE // wide)
    programs = min(triton.cdiv(rows, step), PROGRAMS)
    sums = torch.empty((1, programs, channels), dtype=torch.float32, device=x.device)
    _row_sum[(programs,)](x, sums, rows, programs, channels, wide, step)
    return _totals(sums, kind)[0]


def _totals(sums: Tensor, kind: torch.dtype) -> Tensor:
    """(n, programs, C) → (n, C)."""
    number, programs, channels = sums.shape
    totals = torch.empty((number, channels), dtype=kind, device=sums.device)
    _total[(number, triton.cdiv(channels, COLUMNS))](sums, totals, programs, channels, COLUMNS)
    return totals


def attention(query: Tensor, keys_values: Tensor, heads: int) -> Tensor:
    """Attention of (B, T, C) to (B, S, 2 C)."""
    out = torch.empty_like(query)
    _attention[(query.shape[0], heads)](query, keys_values, out, *_sizes(query, keys_values, heads))
    return out


def attention_backward(gradient: Tensor, query: Tensor, keys_values: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Gradients of queries and of keys with values."""
    of_query, of_keys_values = torch.empty_like(query), torch.empty_like(keys_values)
    _attention_backward[(query.shape[0], heads)](
        gradient, query, keys_values, of_query, of_keys_values, *_sizes(query, keys_values, heads)
    )
    return of_query, of_keys_values


def _sizes(query: Tensor, keys_values: Tensor, heads: int) -> tuple[int, ...]:
    """Tokens, keys, channels, channels of a head, and both numbers of tokens padded to what a tensor core requires."""
    tokens, keys, channels = query.shape[1], keys_values.shape[1], query.shape[2]
    return tokens, keys, channels, channels // heads, *(max(16, triton.next_power_of_2(n)) for n in (tokens, keys))


@triton.jit
def _norm(
    x,
    weight,
    bias,
    modulation,
    out,
    moments,
    rows,
    tokens,
    eps,
    C: tl.constexpr,
    WIDE: tl.constexpr,
    STEP: tl.constexpr,
    MODULATED: tl.constexpr,
    SILU: tl.constexpr,
):
    row = tl.program_id(0) * STEP + tl.arange(0, STEP)
    channel = tl.arange(0, WIDE)
    there = (row < rows)[:, None] & (channel < C)[None, :]
    place = row.to(tl.int64)[:, None] * C + channel[None, :]
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    mean = tl.sum(value, 1) / C
    centred = tl.where(there, value - mean[:, None], 0.0)
    inverse = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / C + eps)
    tl.store(moments + row, mean, mask=row < rows)
    tl.store(moments + rows + row, inverse, mask=row < rows)
    w = tl.load(weight + channel, mask=channel < C, other=0.0).to(tl.float32)
    b = tl.load(bias + channel, mask=channel < C, other=0.0).to(tl.float32)
    y = centred * inverse[:, None] * w[None, :] + b[None, :]
    if MODULATED:
        offsets = (row // tokens)[:, None] * (2 * C) + channel[None, :]
        scale = tl.load(modulation + offsets, mask=there, other=0.0).to(tl.float32)
        shift = tl.load(modulation + offsets + C, mask=there, other=0.0).to(tl.float32)
        y = y * (1.0 + scale) + shift
    if SILU:
        y = y * tl.sigmoid(y)
    tl.store(out + place, y.to(out.dtype.element_ty), mask=there)


@triton.jit
def _norm_backward(
    gradient,
    x,
    weight,
    bias,
    modulation,
    moments,
    out,
    modulated,
    sums,
    count,
    tokens,
    programs,
    C: tl.constexpr,
    WIDE: tl.constexpr,
    STEP: tl.constexpr,
    MODULATED: tl.constexpr,
    SILU: tl.constexpr,
):
    program = tl.program_id(0)
    channel = tl.arange(0, WIDE)
    inside = channel < C
    w = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    of_weight = tl.zeros((WIDE,), tl.float32)
    of_bias = tl.zeros((WIDE,), tl.float32)
    with_normal = tl.zeros((STEP, WIDE), tl.float32)  # sums of the gradient times what the norm gave
    alone = tl.zeros((STEP, WIDE), tl.float32)  # and of the gradient; over rows only at the end
    for one in range(program, count, programs):
        if MODULATED:
            scale = tl.load(modulation + one * (2 * C) + channel, mask=inside, other=0.0).to(tl.float32)
            shift = tl.load(modulation + one * (2 * C) + C + channel, mask=inside, other=0.0).to(tl.float32)
            with_normal = tl.zeros((STEP, WIDE), tl.float32)
            alone = tl.zeros((STEP, WIDE), tl.float32)
        for first in range(0, tokens, STEP):
            token = first + tl.arange(0, STEP)
            row = one * tokens + token
            there = (token < tokens)[:, None] & inside[None, :]
            place = row.to(tl.int64)[:, None] * C + channel[None, :]
            value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
            g = tl.load(gradient + place, mask=there, other=0.0).to(tl.float32)
            mean = tl.load(moments + row, mask=token < tokens, other=0.0)
            inverse = tl.load(moments + count * tokens + row, mask=token < tokens, other=0.0)
            normal = tl.where(there, (value - mean[:, None]) * inverse[:, None], 0.0)
            if SILU:
                y = normal * w[None, :] + b[None, :]
                if MODULATED:
                    y = y * (1.0 + scale[None, :]) + shift[None, :]
                gate = tl.sigmoid(y)
                g = g * gate * (1.0 + y * (1.0 - gate))
            with_normal += g * normal
            alone += g
            if MODULATED:
                g = g * (1.0 + scale[None, :])
            g = g * w[None, :]
            along = tl.sum(g * normal, 1) / C
            g = inverse[:, None] * (g - (tl.sum(g, 1) / C)[:, None] - normal * along[:, None])
            tl.store(out + place, g.to(out.dtype.element_ty), mask=there)
        if MODULATED:
            slope = tl.sum(with_normal, 0)
            level = tl.sum(alone, 0)
            pointers = modulated + one * (2 * C) + channel
            tl.store(pointers, (slope * w + level * b).to(modulated.dtype.element_ty), mask=inside)
            tl.store(pointers + C, level.to(modulated.dtype.element_ty), mask=inside)
            of_weight += slope * (1.0 + scale)
            of_bias += level * (1.0 + scale)
    if not MODULATED:
        of_weight = tl.sum(with_normal, 0)
        of_bias = tl.sum(alone, 0)
    tl.store(sums + program * C + channel, of_weight, mask=inside)
    tl.store(sums + (programs + program) * C + channel, of_bias, mask=inside)


@triton.jit
def _row_sum(x, sums, rows, programs, C: tl.constexpr, WIDE: tl.constexpr, STEP: tl.constexpr):
    program = tl.program_id(0)
    channel = tl.arange(0, WIDE)
    found = tl.zeros((STEP, WIDE), tl.float32)
    for first in range(program * STEP, rows, programs * STEP):
        row = first + tl.arange(0, STEP)
        there = (row < rows)[:, None] & (channel < C)[None, :]
        place = row.to(tl.int64)[:, None] * C + channel[None, :]
        found += tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    tl.store(sums + program * C + channel, tl.sum(found, 0), mask=channel < C)


@triton.jit
def _total(sums, totals, programs, C: tl.constexpr, COLUMNS: tl.constexpr):
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    found = tl.zeros((64, COLUMNS), tl.float32)
    for first in range(0, programs, 64):
        program = first + tl.arange(0, 64)
        place = (tl.program_id(0) * programs + program)[:, None] * C + column[None, :]
        found += tl.load(sums + place, mask=(program < programs)[:, None] & (column < C)[None, :], other=0.0)
    kind = totals.dtype.element_ty
    tl.store(totals + tl.program_id(0) * C + column, tl.sum(found, 0).to(kind), mask=column < C)


@triton.jit
def _places(count, tokens, CHANNELS: tl.constexpr, HEAD: tl.constexpr, WIDE: tl.constexpr):
    """Where one head of one row lies in (B, tokens, CHANNELS), and which of it is there."""
    token = tl.arange(0, WIDE)
    channel = tl.program_id(1) * HEAD + tl.arange(0, HEAD)
    place = (count.to(tl.int64) * tokens + token)[:, None] * CHANNELS + channel[None, :]
    return place, (token < tokens)[:, None] & (channel < CHANNELS)[None, :]


@triton.jit
def _head(
    query,
    keys_values,
    tokens,
    keys,
    CHANNELS: tl.constexpr,
    HEAD: tl.constexpr,
    TOKENS: tl.constexpr,
    KEYS: tl.constexpr,
):
    """One head of one row: places of its queries, and of its keys with values, what of them is there, and all three."""
    one = tl.program_id(0)
    at_query, is_query = _places(one, tokens, CHANNELS, HEAD, TOKENS)
    at_key, is_key = _places(one, keys, 2 * CHANNELS, HEAD, KEYS)
    q = tl.load(query + at_query, mask=is_query, other=0.0)
    k = tl.load(keys_values + at_key, mask=is_key, other=0.0)
    v = tl.load(keys_values + at_key + CHANNELS, mask=is_key, other=0.0)
    return at_query, is_query, at_key, is_key, q, k, v


@triton.jit
def _weights(q, k, keys, HEAD: tl.constexpr, KEYS: tl.constexpr):
    """Softmax over keys, (tokens, keys) in float32."""
    score = tl.dot(q, tl.trans(k)) * (1.0 / HEAD**0.5)
    score = tl.where((tl.arange(0, KEYS) < keys)[None, :], score, float("-inf"))
    power = tl.exp(score - tl.max(score, 1)[:, None])
    return power / tl.sum(power, 1)[:, None]


@triton.jit
def _attention(
    query,
    keys_values,
    out,
    tokens,
    keys,
    CHANNELS: tl.constexpr,
    HEAD: tl.constexpr,
    TOKENS: tl.constexpr,
    KEYS: tl.constexpr,
):
    at_query, is_query, _, _, q, k, v = _head(query, keys_values, tokens, keys, CHANNELS, HEAD, TOKENS, KEYS)
    weight = _weights(q, k, keys, HEAD, KEYS)
    mixed = tl.dot(weight.to(v.dtype), v)
    tl.store(out + at_query, mixed.to(out.dtype.element_ty), mask=is_query)


@triton.jit
def _attention_backward(
    gradient,
    query,
    keys_values,
    of_query,
    of_keys_values,
    tokens,
    keys,
    CHANNELS: tl.constexpr,
    HEAD: tl.constexpr,
    TOKENS: tl.constexpr,
    KEYS: tl.constexpr,
):
    at_query, is_query, at_key, is_key, q, k, v = _head(query, keys_values, tokens, keys, CHANNELS, HEAD, TOKENS, KEYS)
    weight = _weights(q, k, keys, HEAD, KEYS)
    g = tl.load(gradient + at_query, mask=is_query, other=0.0)
    of_value = tl.dot(tl.trans(weight.to(g.dtype)), g)
    of_weight = tl.dot(g, tl.trans(v))
    of_score = weight * (of_weight - tl.sum(of_weight * weight, 1)[:, None]) * (1.0 / HEAD**0.5)
    of_score = of_score.to(q.dtype)
    kind = of_query.dtype.element_ty
    tl.store(of_query + at_query, tl.dot(of_score, k).to(kind), mask=is_query)
    tl.store(of_keys_values + at_key, tl.dot(tl.trans(of_score), q).to(kind), mask=is_key)
    tl.store(of_keys_values + at_key + CHANNELS, of_value.to(kind), mask=is_key)
