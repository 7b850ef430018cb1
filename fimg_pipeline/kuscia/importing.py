"""One archive to several nodes at once: read once, written to all of them, without a copy on the way."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from fimg_pipeline.engine.containers import Container, ContainerError, Feed
from fimg_pipeline.ship.bundle import Content, size_of, stream
from fimg_pipeline.ship.layers import LayerStore

#: How many pieces of a megabyte the quickest node may be ahead of the slowest.
_AHEAD: Final = 16
#: How long a node may take nothing, and how long it may take to end when it has everything.
_STALL_SECONDS: Final = 120.0
_END_SECONDS: Final = 1800.0
_TELL_SECONDS: Final = 10.0

Log = Callable[[str], None]


@dataclass(frozen=True)
class Ended:
    """How an import ended in a node: what went wrong, if anything did, and the last that it said."""

    problem: str | None
    said: str


class _NobodyLeft(Exception):
    """No node reads any more."""


def import_image(
    nodes: Sequence[tuple[Container, Sequence[str]]], content: Content, store: LayerStore, say: Log
) -> dict[str, Ended]:
    """Streams the archive of ``content`` to a command in each of ``nodes``; by container, how that ended.

    What did not fail is imported as far as the node says, which has to be seen. Raises
    :class:`~fimg_pipeline.ship.layers.ShipError` when the archive itself can't be read; then nothing is imported.
    """
    with ExitStack() as stack:
        lanes = [_Lane(container.name, stack.enter_context(container.feed(command))) for container, command in nodes]
        sink = _Sink(lanes, size_of(content, store), say)
        for lane in lanes:
            lane.start()
        try:
            stream(content, store, sink)
        except _NobodyLeft:
            pass
        except BaseException:
            # An archive that ends early must not look like one that has ended.
            for lane in lanes:
                lane.feed.stop()
            raise
        finally:
            for lane in lanes:
                lane.put(None)
            _wait(lanes, say)
        return {lane.name: Ended(lane.problem, lane.said) for lane in lanes}


def _wait(lanes: Sequence[_Lane], say: Log) -> None:
    """Until all have ended; those that take nothing for too long are ended."""
    told = time.monotonic()
    going = list(lanes)
    while going:
        for lane in going:
            lane.join(0.1)
            lane.mind()
        for lane in [lane for lane in going if not lane.is_alive()]:
            going.remove(lane)
            say(f"{lane.name}: {lane.problem or 'took all of it'}")
        if going and time.monotonic() - told > _TELL_SECONDS:
            told = time.monotonic()
            say(f"waiting for {', '.join(lane.name for lane in going)}")


class _Lane(threading.Thread):
    """Writes what is put into it to one node."""

    def __init__(self, name: str, feed: Feed) -> None:
        super().__init__(name=name, daemon=True)
        self.feed = feed
        self.problem: str | None = None
        self.said = ""
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        #: When the piece that is being written was begun.
        self._begun: float | None = None

    def put(self, piece: bytes | None) -> None:
        """Waits until there is room; a node that makes none is given up. ``None``: that was all."""
        while True:
            try:
                self._pieces.put(piece, timeout=0.1)
                return
            except queue.Full:
                self.mind()
                if self.problem is not None and piece is not None:
                    return

    def mind(self) -> None:
        """Ends a node that has taken nothing for too long."""
        begun = self._begun
        if begun is not None and self.problem is None and time.monotonic() - begun > _STALL_SECONDS:
            self.problem = f"it took nothing for {_STALL_SECONDS:.0f} s"
            self.feed.stop()

    def run(self) -> None:
        try:
            while (piece := self._pieces.get()) is not None:
                self._begun = time.monotonic()
                self.feed.write(piece)
                self._begun = None
        except (OSError, ValueError):
            # It reads no more, and says why when it is asked.
            self._begun = None
            threading.Thread(target=self._drain, daemon=True).start()
        try:
            done = self.feed.end(_END_SECONDS)
        except ContainerError as error:
            self.problem = self.problem or error.message
            return
        except ValueError:
            self.problem = self.problem or "it was stopped"
            return
        self.said = done.last_words
        if done.status < 0:
            self.problem = self.problem or "it was stopped"
        elif done.status > 0:
            self.problem = self.problem or f"it ended with {done.status}: {self.said}"

    def _drain(self) -> None:
        while self._pieces.get() is not None:
            pass


@dataclass
class _Sink:
    """Puts what is written into all lanes that have no problem, and says how far it has come."""

    lanes: Sequence[_Lane]
    size: int
    say: Log
    written: int = 0
    told: float = field(default_factory=time.monotonic)

    def write(self, data: bytes, /) -> int:
        piece = bytes(data)
        going = [lane for lane in self.lanes if lane.problem is None]
        if not going:
            raise _NobodyLeft
        for lane in going:
            lane.put(piece)
        self.written += len(piece)
        if time.monotonic() - self.told > _TELL_SECONDS:
            self.told = time.monotonic()
            self.say(f"{self.written / 1e6:.0f} of {self.size / 1e6:.0f} MB to {len(going)} nodes")
        return len(piece)
