"""A sum nobody shows a summand of: additive secret sharing modulo 2^61 - 1."""

import secrets
from typing import List, Sequence

MODULUS = (1 << 61) - 1


def share(value: int, parties: int) -> List[int]:
    """Splits ``value`` into random shares, one for each party."""
    masks = [secrets.randbelow(MODULUS) for _ in range(parties - 1)]
    return [*masks, (value - sum(masks)) % MODULUS]


def secure_sum(values: Sequence[int]) -> int:
    """The sum of one value from each party, computed on shares only."""
    shared = [share(value, len(values)) for value in values]
    partial_sums = (sum(column) for column in zip(*shared))
    return sum(partial_sums) % MODULUS
