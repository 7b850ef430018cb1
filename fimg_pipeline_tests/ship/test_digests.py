"""Digests that are computed beside what they are of."""

from __future__ import annotations

import hashlib
import random

import pytest

from fimg_pipeline.ship.digests import Digest


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_digest_of_all_pieces_in_their_order(seed: int) -> None:
    dice = random.Random(seed)
    pieces = [dice.randbytes(dice.choice((0, 1, 511, 65_535, 65_536, 300_000))) for _ in range(dice.randrange(12))]
    digest = Digest()
    for piece in pieces:
        digest.update(memoryview(piece) if dice.random() < 0.5 else piece)
        if dice.random() < 0.2:
            digest.hex()
    assert digest.hex() == hashlib.sha256(b"".join(pieces)).hexdigest()
    assert str(digest) == f"sha256:{digest.hex()}"
