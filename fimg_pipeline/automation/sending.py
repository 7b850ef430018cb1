"""Messages on their way: by the services that ``NOTIFY_URLS`` names, until each has taken them."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fimg_pipeline.automation.broken import Message

#: So long (seconds) a message that was not taken is left alone at first, each time twice as long, and at most.
_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 3600.0
#: So often it is tried to tell that something works again: a day.
_TRIES: Final = 30


def worth_sending(
    untold: Sequence[Message], new: Sequence[Message], broken: Collection[str], services: int
) -> list[Message]:
    """What people are still to be told, the ``new`` first; ``broken``: the partitions that are, ``services``: how many.

    Not that something broke which works by now, nor that it works again where nobody heard that it broke. As long as
    something is broken, somebody is to hear of it.
    """
    unheard = {
        where
        for message in untold
        if not message.works and (message.left is None or len(message.left) >= services)
        for where in message.about
    }
    still = [
        message for message in untold if (message.tries < _TRIES if message.works else set(message.about) & set(broken))
    ]
    return [*(message for message in new if not (message.works and set(message.about) <= unheard)), *still]


def is_due(message: Message, now: float) -> bool:
    """Whether to try it; ``now`` in seconds since 1970. By a clock that was ahead nobody waits."""
    return not now < message.due < now + 2 * _LONGEST_PAUSE


def send(urls: Sequence[str], messages: Sequence[Message], seconds: float) -> list[Message]:
    """The messages after they were sent by the services that did not take them yet, all services at once.

    A service that does not take one gets no other this time; after ``seconds`` nothing is begun any more.
    """
    import apprise  # takes a quarter of a second, and most who load definitions send nothing

    # They would tell of addresses that hold passwords.
    for logger in ("apprise", "urllib3"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    until = time.monotonic() + seconds

    def by(place: int) -> tuple[set[int], set[int]]:
        """Of the messages which were tried, and which were taken, by their places."""
        service, tried, taken = apprise.Apprise(), set[int](), set[int]()
        known = service.add(urls[place])
        for number, message in enumerate(messages):
            if message.left is not None and place not in message.left:
                continue
            if time.monotonic() > until:
                break
            tried.add(number)
            # What a compiler says is no HTML, and nobody's commit is to be any.
            as_it_is = apprise.NotifyFormat.TEXT
            if not (known and service.notify(title=message.title, body=message.body, body_format=as_it_is)):
                break
            taken.add(number)
        return tried, taken

    with ThreadPoolExecutor(len(urls)) as pool:
        outcomes = list(pool.map(by, range(len(urls))))
    now = time.time()
    sent = []
    for number, message in enumerate(messages):
        # Another URL may stand in its place meanwhile; one that is gone needs nothing.
        asked = [place for place in range(len(urls)) if message.left is None or place in message.left]
        left = tuple(place for place in asked if number not in outcomes[place][1])
        tries = message.tries + any(number in outcomes[place][0] for place in asked)
        # Twice as long some times, not for ever: what is broken for months has no end of tries.
        pause = min(_PAUSE * 2.0 ** min(tries - 1, 10), _LONGEST_PAUSE) if tries else 0.0
        sent.append(message.model_copy(update={"left": left, "tries": tries, "due": now + pause}))
    return sent
