"""How much of a codebook is in use."""

import numpy as np
from numpy.typing import NDArray


def use(codes: NDArray, size: int) -> dict[str, float]:
    """Perplexity and share in use of codes (n, tokens, groups), means of the groups' codebooks of `size` entries."""
    flat = codes.reshape(-1, codes.shape[-1])
    counts = np.stack([np.bincount(column, minlength=size) for column in flat.T])
    share = counts / counts.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return {"perplexity": float(np.exp(entropy).mean()), "codes_in_use": float((counts > 0).mean())}
