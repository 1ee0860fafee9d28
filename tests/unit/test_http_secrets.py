"""Secrets of webhooks: none shows, whatever the server says."""

import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from http_sinks import Drops, hook_options, numbered_messages, open_at_noon, outcome_of
from webhook import Receiver, receiving, saying

from edge_vision.core.errors import SinkError
from edge_vision.publish.table import SinkOpening, open_sink

KEY = "canary-7f3a"
TOKEN = "Bearer canary-91c0-token"


@pytest.fixture(name="drops")
def _drops() -> Drops:
    return Drops()


@pytest.fixture(name="opening")
def _opening(drops: Drops) -> SinkOpening:
    return open_at_noon(drops)


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.mark.parametrize(
    "value, words",
    [(None, "the environment variable HOOK_SECRET is not set"), ("", "is empty"), ("a\r\nX-Evil: 1", "no header"),
     ("ü", "no header"), (" a", "no header"), ("a" * 5000, "no header")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["headers", "secret"])
def test_a_secret_that_cannot_be_used_is_a_failure_without_it(
    where: str, value: str | None, words: str, receiver: Receiver, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the header or the key, and neither posts nor connects; a key may be any text."""
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK_SECRET", value)
    given: Any = {"env": "HOOK_SECRET"}
    options = hook_options(receiver.url, **{where: {"X-Token": given} if where == "headers" else given})
    if where == "secret" and value:
        with open_sink(options, opening) as sink:
            sink.send(numbered_messages(1))
        return
    with pytest.raises(SinkError, match=words) as caught, open_sink(options, opening):
        pytest.fail("it was opened")
    assert ("header X-Token" if where == "headers" else "secret") in str(caught.value)
    assert "Evil" not in str(caught.value)


def test_no_secret_shows_whatever_the_server_says(
    opening: SinkOpening, drops: Drops, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that repeats what it was sent, in every part of an answer, right or broken."""
    monkeypatch.setenv("HOOK_KEY", KEY)
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    word = TOKEN.split()[1].encode()
    both = TOKEN.encode() + b" " + KEY.encode()
    body = b"Content-Length: %d\r\n\r\n%b"
    echoes = [
        b"HTTP/1.1 422 " + both + b"\r\n\r\n",
        b"HTTP/1.1 503 no " + word + b"\r\n\r\n",
        b"HTTP/1.1 422 x\r\n" + body % (len(both), both),
        b"HTTP/1.1 422 x\r\n" + body % (len(both) + 14, b'{"error": "%b\\n"}' % both),
        b"HTTP/1.1 422 x\r\n" + body % (len(both) + 9, b'{"a": "%b"}' % both),
        b"HTTP/1.1 422 x\r\n" + body % (193 + len(word), b"x" * 193 + word),
        b"HTTP/1.1 302 x\r\nLocation: https://" + word + b".example/" + word + b"\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: https://u:" + word + b"@a.example/\r\n\r\n",
        b"HTTP/1.1 " + both + b"\r\n\r\n",
        both + b"\r\n\r\n",
        b"x" * 295 + word + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + both * 5000,
    ]
    seen = []
    for echo in echoes:
        with saying(lambda _, echo=echo: [echo]) as url:  # type: ignore[misc]
            options = hook_options(
                url, secret={"env": "HOOK_KEY"}, headers={"Authorization": {"env": "HOOK_TOKEN"}}, timeout_s=5
            )
            seen += [repr(options), str(options), options.model_dump_json(), url]
            error = outcome_of(options, opening)
            if error is not None:
                assert error.__cause__ is None
                assert error.__suppress_context__
                seen += [str(error), repr(error)]
    assert len(drops) == 5
    seen += [text for _, reason in drops for text in [reason]] + [caplog.text]
    for secret in (KEY, TOKEN, word.decode(), "canary"):
        assert not [text for text in seen if secret in text], secret


def test_the_path_does_not_show_where_a_server_repeats_it(opening: SinkOpening) -> None:
    """Apache answers that "The requested URL /services/..." is not there: the path is the secret of many a webhook."""
    said = b'{"error": "no /services/T01CANARY/B02 nor /services/T01%20CANARY?key=canary-key, canary-key"}'
    with saying(lambda _: [b"HTTP/1.1 503 x\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)]) as url:
        for path in ("services/T01CANARY/B02", "services/T01%20CANARY?key=canary-key"):
            text = str(outcome_of(hook_options(urljoin(url, f"/{path}"), timeout_s=5), opening))
            assert "answered 503 x: no ***" in text
            assert path.split("/")[1] not in text
            assert "?" not in path or "canary-key" not in text
