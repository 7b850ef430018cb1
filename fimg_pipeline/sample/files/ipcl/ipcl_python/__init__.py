"""Paillier's scheme in miniature: its arithmetic runs in the C extension."""

import secrets
from math import gcd
from typing import NamedTuple, Tuple

from ipcl_python.bindings import powmod

__version__ = "1.1.3+sample"
__all__ = ["PaillierKeypair", "PrivateKey", "PublicKey", "powmod"]


class PublicKey(NamedTuple):
    """The modulus."""

    n: int

    def encrypt(self, value: int) -> int:
        """A fresh ciphertext of ``value``."""
        square = self.n * self.n
        while True:
            noise = secrets.randbelow(self.n - 1) + 1
            if gcd(noise, self.n) == 1:
                return (1 + value * self.n) * powmod(noise, self.n, square) % square

    def add(self, left: int, right: int) -> int:
        """A ciphertext of the sum."""
        return left * right % (self.n * self.n)


class PrivateKey(NamedTuple):
    """The modulus and the order of its units."""

    n: int
    order: int

    def decrypt(self, ciphertext: int) -> int:
        """The value behind a ciphertext."""
        lifted = (powmod(ciphertext, self.order, self.n * self.n) - 1) // self.n
        return lifted * pow(self.order, -1, self.n) % self.n


class PaillierKeypair:
    """Makes keys."""

    @staticmethod
    def generate_keypair(n_length: int = 1024, enable_DJN: bool = True) -> Tuple[PublicKey, PrivateKey]:
        """A fixed pair, whatever is asked for: squares of larger moduli don't fit 64 bits."""
        p, q = 64661, 65521
        return PublicKey(p * q), PrivateKey(p * q, (p - 1) * (q - 1))
