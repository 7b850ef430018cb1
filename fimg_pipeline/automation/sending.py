"""Messages on their way: by the services that ``NOTIFY_URLS`` names, until each has taken them."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from fimg_pipeline.automation.broken import Broken, Message, breakage, recovery

#: So long (seconds) a message that was not taken is left alone at first, each time twice as long, and at most.
_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 3600.0
#: So long (seconds) a message that was begun in time is waited for.
_GRACE: Final = 5.0
#: So often it is tried to tell that something works again: a day.
_TRIES: Final = 30


def worth_sending(
    untold: Sequence[Message], new: Sequence[Message], broken: Mapping[str, Broken], address: str
) -> list[Message]:
    """What people are still to be told, the ``new`` first. ``broken``: what is; ``address`` of the web UI.

    Not that something broke which works by now, nor that it works where it broke again, or where nobody heard that it
    broke. As long as something is broken, somebody is to hear of it.
    """
    unheard = {where for message in untold if not message.works and not message.taken for where in message.about}
    still = []
    for message in untold:
        left = [where for where in message.about if (where in broken) is not message.works]
        if not left or (message.works and message.tries >= _TRIES):
            continue
        of_those = message
        if len(left) < len(message.about):
            of_those = recovery(left, None, address) if message.works else breakage(left, broken[left[0]], address)
        kept = {"taken": message.taken, "tries": message.tries, "due": message.due}
        still.append(of_those.model_copy(update=kept))
    return [*(message for message in new if not (message.works and set(message.about) <= unheard)), *still]


def is_due(message: Message, now: float) -> bool:
    """Whether to try it; ``now`` in seconds since 1970. By a clock that was ahead nobody waits."""
    return not now < message.due < now + 2 * _LONGEST_PAUSE


def service(url: str) -> str:
    """What tells a service from the others and says nothing of its secrets: what is kept is no place to find them."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def send(urls: Sequence[str], messages: Sequence[Message], seconds: float) -> list[Message]:
    """The messages after they were sent by the services that did not take them yet, all services at once.

    A service that does not take one gets no other this time. After ``seconds`` none is given any more, and what has it
    then is waited for :data:`_GRACE` longer.
    """
    if not messages:
        return []
    # They would tell of addresses that hold passwords.
    for logger in ("apprise", "urllib3", "oauthlib", "requests_oauthlib"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    until = time.monotonic() + seconds
    ways: list[_Way] = []
    given = {_key(message) for message in messages if message.tries}
    for url in dict.fromkeys(urls):
        name = service(url)
        before = _UNDER_WAY.get(name)
        if before is not None and before.thread.is_alive():
            # It still has what it was given: what it takes of that is known when it is done.
            continue
        known = before.taken & given if before is not None else set[str]()
        wanted = [each for each in messages if name not in each.taken and _key(each) not in known]
        _UNDER_WAY[name] = _Way(url, wanted, until, known)
        ways.append(_UNDER_WAY[name])
    for way in ways:
        way.thread.start()
    for way in ways:
        way.thread.join(max(0.0, until + _GRACE - time.monotonic()))
    over = [way for way in ways if not way.thread.is_alive()]
    taken = {name: frozenset(way.taken) for name, way in _UNDER_WAY.items()}
    tried = {key for way in ways for key in frozenset(way.tried)}
    for way in over:
        del _UNDER_WAY[service(way.url)]
    now = time.time()
    sent = []
    for message in messages:
        key = _key(message)
        by = tuple(name for name in map(service, urls) if name in message.taken or key in taken.get(name, ()))
        tries = message.tries + (key in tried)
        # Twice as long some times, not for ever: what is broken for months has no end of tries.
        pause = min(_PAUSE * 2.0 ** min(tries - 1, 10), _LONGEST_PAUSE) if tries else 0.0
        sent.append(message.model_copy(update={"taken": tuple(dict.fromkeys(by)), "tries": tries, "due": now + pause}))
    return sent


def _key(message: Message) -> str:
    return hashlib.sha256(f"{message.title}\0{message.body}".encode()).hexdigest()


class _Way:
    """A service that is given messages in a thread of its own: which it was, and which it took, by their keys.

    One that takes a byte a second may take for ever: the thread is left to itself then, and given nothing else.
    """

    def __init__(self, url: str, messages: Sequence[Message], until: float, taken: set[str]) -> None:
        self.url = url
        self.tried: set[str] = set()
        self.taken = taken
        self.thread = threading.Thread(target=self._give, args=[messages, until], daemon=True)

    def _give(self, messages: Sequence[Message], until: float) -> None:
        import apprise  # takes a quarter of a second, and most who load definitions send nothing

        # Else it would give each to a thread of a pool, which Python waits for at its end: this one it does not.
        sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, service_timeout=0))
        known = sender.add(self.url)
        for message in messages:
            if time.monotonic() > until:
                break
            self.tried.add(_key(message))
            # What a compiler says is no HTML, and nobody's commit is to be any.
            as_it_is = apprise.NotifyFormat.TEXT
            if not (known and sender.notify(title=message.title, body=message.body, body_format=as_it_is)):
                break
            self.taken.add(_key(message))


#: What was not over when a look was, by service.
_UNDER_WAY: Final[dict[str, _Way]] = {}
