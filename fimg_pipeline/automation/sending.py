"""Messages on their way: by the services that ``NOTIFY_URLS`` names, until each has taken them."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from fimg_pipeline.automation.broken import Message

#: So long (seconds) a message that was not taken is left alone at first, each time twice as long, and at most.
_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 3600.0
#: So long (seconds) a message that was begun in time is waited for.
_GRACE: Final = 5.0
#: So often it is tried to tell that something works again: a day.
_TRIES: Final = 30


def worth_sending(
    untold: Sequence[Message], new: Sequence[Message], broken: Collection[str], services: Collection[str]
) -> list[Message]:
    """What people are still to be told, the ``new`` first. ``broken``: the partitions that are; ``services``: all.

    Not that something broke which works by now, nor that it works again where nobody heard that it broke. As long as
    something is broken, somebody is to hear of it.
    """
    unheard = {
        where
        for message in untold
        if not message.works and (message.left is None or set(services) <= set(message.left))
        for where in message.about
    }
    still = [
        message for message in untold if (message.tries < _TRIES if message.works else set(message.about) & set(broken))
    ]
    return [*(message for message in new if not (message.works and set(message.about) <= unheard)), *still]


def is_due(message: Message, now: float) -> bool:
    """Whether to try it; ``now`` in seconds since 1970. By a clock that was ahead nobody waits."""
    return not now < message.due < now + 2 * _LONGEST_PAUSE


def service(url: str) -> str:
    """What tells a service from the others and says nothing of its secrets: what is kept is no place to find them."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def send(urls: Sequence[str], messages: Sequence[Message], seconds: float) -> list[Message]:
    """The messages after they were sent by the services that did not take them yet, all services at once.

    A service that does not take one gets no other this time, and nobody waits for one longer than ``seconds``.
    """
    import apprise  # takes a quarter of a second, and most who load definitions send nothing

    # They would tell of addresses that hold passwords.
    for logger in ("apprise", "urllib3", "oauthlib", "requests_oauthlib"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    until = time.monotonic() + seconds
    ways = [_Way(url, service(url)) for url in dict.fromkeys(urls)]

    def use(way: _Way) -> None:
        sender = apprise.Apprise()
        known = sender.add(way.url)
        for number, message in enumerate(messages):
            if message.left is not None and way.service not in message.left:
                continue
            if time.monotonic() > until:
                break
            way.tried.add(number)
            # What a compiler says is no HTML, and nobody's commit is to be any.
            as_it_is = apprise.NotifyFormat.TEXT
            if not (known and sender.notify(title=message.title, body=message.body, body_format=as_it_is)):
                break
            way.taken.add(number)

    # One that takes a byte a second may take for ever: it is left to itself then.
    threads = [threading.Thread(target=use, args=[way], daemon=True) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until + _GRACE - time.monotonic()))
    outcomes = [(way.service, frozenset(way.tried), frozenset(way.taken)) for way in ways]
    now = time.time()
    sent = []
    for number, message in enumerate(messages):
        # One that is not named any more needs nothing.
        asked = [each for each in outcomes if message.left is None or each[0] in message.left]
        left = tuple(known for known, _, taken in asked if number not in taken)
        tries = message.tries + any(number in tried for _, tried, _ in asked)
        # Twice as long some times, not for ever: what is broken for months has no end of tries.
        pause = min(_PAUSE * 2.0 ** min(tries - 1, 10), _LONGEST_PAUSE) if tries else 0.0
        sent.append(message.model_copy(update={"left": left, "tries": tries, "due": now + pause}))
    return sent


@dataclass
class _Way:
    """A service, and which messages were tried by it, and taken, by their places."""

    url: str
    service: str
    tried: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
