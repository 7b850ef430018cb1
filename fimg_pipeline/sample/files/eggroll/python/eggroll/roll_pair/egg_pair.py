"""A worker: holds partitions of a table and reduces them."""

import argparse
from collections import defaultdict
from functools import reduce
from typing import Any, Callable, DefaultDict, Dict, Iterable, List, Tuple

import eggroll


class EggPair:
    """A table in memory, divided by the hash of its keys."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._stores: DefaultDict[int, Dict[Any, Any]] = defaultdict(dict)

    def put_all(self, pairs: Iterable[Tuple[Any, Any]]) -> None:
        """Stores pairs, later ones replace earlier ones."""
        for key, value in pairs:
            self._stores[hash(key) % self.partitions][key] = value

    def reduce(self, function: Callable[[Any, Any], Any]) -> Any:
        """Reduces every partition, then their results."""
        partial: List[Any] = [reduce(function, store.values()) for store in self._stores.values() if store]
        return reduce(function, partial)


def main() -> None:
    """Sums a small table and says so: a self-test of the worker's environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--partitions", type=int, default=4)
    table = EggPair(parser.parse_args().partitions)
    table.put_all((key, key) for key in range(100))
    print(f"egg_pair {eggroll.__version__}: sum {table.reduce(lambda left, right: left + right)}")


if __name__ == "__main__":
    main()
