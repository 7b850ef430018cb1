"""Messages on their way: services that take them, don't, or never come to an end."""

from __future__ import annotations

import email
import smtplib
import socket
import threading
import time
from contextlib import suppress

import pytest

from fimg_pipeline.automation import sending as sending_module
from fimg_pipeline.automation.broken import Broken, Message, breakage, recovery
from fimg_pipeline.automation.sending import send, service, worth_sending
from fimg_pipeline_tests.rig.hook import Hook


def test_what_is_broken_for_months_is_tried_once_an_hour(hook: Hook) -> None:
    hook.status = 500
    (sent,) = send([hook.url], [Message(title="t", body="b", tries=5000)], 10)
    assert sent.tries == 5001 and 3500 < sent.due - time.time() <= 3600


def test_of_what_works_by_now_nobody_hears_that_it_is_broken() -> None:
    """Also where other tags still are, by the same cause."""
    broken = {f"amd64|{tag}": Broken(failed={"nginx": "no"}, run="r") for tag in "abc"}
    told = breakage(list(broken), broken["amd64|a"], "http://ui").model_copy(update={"tries": 3, "due": 7.0})
    works = Message(title="works", body="", about=("amd64|a", "amd64|b"), works=True)
    (message,) = worth_sending([told], [works], {"amd64|c": broken["amd64|c"]}, "http://ui")
    assert (message.title, message.about) == ("fimg: c for amd64 is broken", ("amd64|c",))
    assert (message.tries, message.due) == (3, 7.0)
    # One service has heard of all of them: it hears that they work, and the other only of what is left.
    works_too, message = worth_sending(
        [told.model_copy(update={"taken": ("one",)})], [works], {"amd64|c": broken["amd64|c"]}, "http://ui"
    )
    assert works_too == works and (message.about, message.taken) == (("amd64|c",), ("one",))


def test_what_broke_again_is_not_said_to_work() -> None:
    """By a service that takes nothing for a while it would be the last that people hear."""
    works = recovery(["amd64|a", "amd64|b"], None, "http://ui").model_copy(update={"tries": 2})
    broken = {"amd64|a": Broken(failed={"nginx": "no"}, run="r")}
    (message,) = worth_sending([works], [], broken, "http://ui")
    assert (message.title, message.about, message.tries) == ("fimg: b for amd64 works again", ("amd64|b",), 2)
    assert worth_sending([message], [], {"amd64|b": broken["amd64|a"]}, "http://ui") == []


def test_services_that_hang_don_t_keep_each_other_waiting(hook: Hook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.listen()
        hung = f"json://127.0.0.1:{silent.getsockname()[1]}/?cto=1&rto=1"
        messages = [Message(title=f"title {number}", body="body") for number in range(3)]
        began = time.monotonic()
        sent = send([hung, hung, hung, hook.url], messages, 10)
        # Each is asked once: nine times a second would be nine.
        assert time.monotonic() - began < 5
    assert len(hook.received) == 3
    assert [(message.taken, message.tries) for message in sent] == [((service(hook.url),), 1)] * 3


def test_a_service_that_never_comes_to_an_end_is_not_waited_for(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look has a minute: what it told is forgotten when it takes longer, and told again."""
    monkeypatch.setattr(sending_module, "_GRACE", 0.2)
    before = threading.enumerate()
    with socket.create_server(("127.0.0.1", 0)) as slow:

        def drip() -> None:
            connection, _ = slow.accept()
            with connection, suppress(OSError):
                for letter in b"HTTP/1.1 200 OK\r\nX-Never: " + b"x" * 1000:
                    connection.send(bytes([letter]))
                    time.sleep(0.2)

        threading.Thread(target=drip, daemon=True).start()
        dripping = f"json://127.0.0.1:{slow.getsockname()[1]}/"
        began = time.monotonic()
        (sent,) = send([dripping, hook.url], [Message(title="t", body="b")], 1)
        assert time.monotonic() - began < 10
        assert sent.taken == (service(hook.url),) and sent.tries == 1 and len(hook.received) == 1
        # It still has that: as long as it does it is given nothing else.
        assert send([dripping], [sent], 1)[0].tries == 1
    # Nor does the process wait for it at its end, as it does for a pool's threads.
    assert not [each.name for each in threading.enumerate() if each not in before and not each.daemon]
    assert not [each.name for each in threading.enumerate() if each not in before and "Pool" in each.name]


def test_a_service_that_is_not_named_any_more_gives_its_place_to_nobody(hook: Hook) -> None:
    (sent,) = send(["json://127.0.0.1:1/", hook.url], [Message(title="t", body="b")], 10)
    (again,) = send([hook.url], [sent], 10)
    assert again.taken == (service(hook.url),) and len(hook.received) == 1


def test_a_service_that_takes_long_gets_it_once(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending_module, "_GRACE", 0.0)
    hook.seconds = 1.0
    (sent,) = send([hook.url], [Message(title="t", body="b")], 0.3)
    assert sent.taken == ()
    (sent,) = send([hook.url], [sent], 0.3)
    time.sleep(1.5)
    (sent,) = send([hook.url], [sent], 0.3)
    assert sent.taken == (service(hook.url),) and len(hook.received) == 1


def test_a_mail_says_what_a_compiler_says(monkeypatch: pytest.MonkeyPatch) -> None:
    mails: list[str] = []

    class Smtp:
        def __init__(self, *_: object, **__: object) -> None: ...
        def ehlo(self) -> None: ...
        def quit(self) -> None: ...
        def login(self, *_: object) -> None: ...
        def starttls(self, *_: object, **__: object) -> None: ...
        def sendmail(self, _from: str, _to: object, text: str) -> None:
            mails.append(text)

    monkeypatch.setattr(smtplib, "SMTP", Smtp)
    monkeypatch.setattr(smtplib, "SMTP_SSL", Smtp)
    body = "eggroll: expected </project> to close <project>\nwith abc <b>Note</b> (Mallory)"
    (sent,) = send(["mailto://me:secret@mail.example?mode=insecure"], [Message(title="broken", body=body)], 10)
    assert len(sent.taken) == 1
    (mail,) = map(email.message_from_string, mails)
    parts = {part.get_content_type(): part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()}
    texts = {kind: part.decode() for kind, part in parts.items() if isinstance(part, bytes)}
    assert texts.pop("text/plain") == body
    # Some versions have it as a page as well.
    for page in texts.values():
        assert "&lt;/project&gt;" in page and "&lt;b&gt;Note" in page and "<b>" not in page
