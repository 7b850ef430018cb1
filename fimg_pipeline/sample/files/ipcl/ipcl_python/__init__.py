"""Paillier's scheme in miniature: its arithmetic runs in the C extension."""

import secrets
from math import gcd
from typing import List, NamedTuple, Sequence, Tuple, Union

from ipcl_python.bindings import powmod

__version__ = "1.1.3+sample"
__all__ = ["PaillierEncryptedNumber", "PaillierKeypair", "PrivateKey", "PublicKey", "powmod"]


class PaillierEncryptedNumber(NamedTuple):
    """Ciphertexts of several values, or of one."""

    ciphertexts: Tuple[int, ...]
    several: bool


class PublicKey(NamedTuple):
    """The modulus."""

    n: int

    def encrypt(self, value: Union[int, Sequence[int]]) -> PaillierEncryptedNumber:
        """Fresh ciphertexts of a value, or of each of several."""
        several = not isinstance(value, int)
        return PaillierEncryptedNumber(tuple(map(self._encrypt, value if several else [value])), several)

    def add(self, left: PaillierEncryptedNumber, right: PaillierEncryptedNumber) -> PaillierEncryptedNumber:
        """Ciphertexts of the sums."""
        pairs = zip(left.ciphertexts, right.ciphertexts)
        return PaillierEncryptedNumber(tuple(one * other % (self.n * self.n) for one, other in pairs), left.several)

    def _encrypt(self, value: int) -> int:
        square = self.n * self.n
        while True:
            noise = secrets.randbelow(self.n - 1) + 1
            if gcd(noise, self.n) == 1:
                return (1 + value * self.n) * powmod(noise, self.n, square) % square


class PrivateKey(NamedTuple):
    """The modulus and the order of its units."""

    n: int
    order: int

    def decrypt(self, number: PaillierEncryptedNumber) -> Union[int, List[int]]:
        """The value or values behind ciphertexts."""
        values = list(map(self._decrypt, number.ciphertexts))
        return values if number.several else values[0]

    def _decrypt(self, ciphertext: int) -> int:
        lifted = (powmod(ciphertext, self.order, self.n * self.n) - 1) // self.n
        return lifted * pow(self.order, -1, self.n) % self.n


class PaillierKeypair:
    """Makes keys."""

    @staticmethod
    def generate_keypair(n_length: int = 1024, enable_DJN: bool = True) -> Tuple[PublicKey, PrivateKey]:
        """A fixed pair, whatever is asked for: squares of larger moduli don't fit 64 bits."""
        p, q = 64661, 65521
        return PublicKey(p * q), PrivateKey(p * q, (p - 1) * (q - 1))
