"""Reproducible randomness for everything that draws from torch's global generators (initial weights, dropout)."""

import numpy as np
import torch


def seed_torch(*key: int) -> None:
    """Seed torch on every device from a tuple of whole numbers such as (seed, epoch)."""
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1)))
