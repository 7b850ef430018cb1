"""Low-rank adaptation: a frozen matrix plus the product of two thin ones."""

from typing import List, Sequence

Matrix = Sequence[Sequence[float]]


def merge(weight: Matrix, down: Matrix, up: Matrix, scale: float = 1.0) -> List[List[float]]:
    """``weight + scale * up @ down``."""
    columns = list(zip(*down))
    return [
        [value + scale * sum(u * d for u, d in zip(up[row], columns[column])) for column, value in enumerate(line)]
        for row, line in enumerate(weight)
    ]
