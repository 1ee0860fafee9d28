"""Checks what the webhook's sink posts, and what it makes of each status that is answered."""

import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from http_sinks import Drops, failure_of, hook_options, numbered_messages, open_at_noon
from webhook import Post, Receiver, Reply, receiving

from edge_vision.publish.http.sink import sign
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.testing.fakes import NOON, FakeClock, make_message


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


def test_a_post_is_the_message_with_its_id_and_kind(receiver: Receiver, opening: SinkOpening) -> None:
    """The body as it is; the address with its query; headers of our own."""
    message = make_message(7, kind="line_crossed", body=b'{"a": "\xc3\xbc"}')
    given = {"headers": {"X-Line": "hall 7"}}
    with open_sink(hook_options(f"{receiver.url}/a?b=c", **given), opening) as sink:
        sink.send([message])
    (post,) = receiver.posts
    assert (post.path, post.body) == ("/hook/a?b=c", message.body)
    expected = {
        "content-type": "application/json",
        "x-edge-vision-id": message.id,
        "x-edge-vision-kind": "line_crossed",
        "x-line": "hall 7",
        "host": receiver.url.split("/")[2],
    }
    assert expected.items() <= post.headers.items()
    assert not {"x-edge-vision-signature", "x-edge-vision-count", "authorization"} & post.headers.keys()


def test_a_signature_is_that_of_the_time_and_the_body(
    receiver: Receiver, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HMAC-SHA256 over "<seconds>.<body>", anew with each attempt, with the time of it."""
    monkeypatch.setenv("HOOK_KEY", "clé")
    receiver.replies[:] = [Reply(), Reply(503)]
    clock = opening.clock
    assert isinstance(clock, FakeClock)
    with open_sink(hook_options(receiver.url, secret={"env": "HOOK_KEY"}), opening) as sink:
        sink.send(numbered_messages(1))
        failure_of(sink, numbered_messages(1))
        clock.advance(100)
        sink.send(numbered_messages(1))
    noon = int(NOON.timestamp())
    for post, seconds in zip(receiver.posts, (noon, noon, noon + 100), strict=True):
        digest = hmac.new("clé".encode(), f"{seconds}.".encode() + post.body, hashlib.sha256).hexdigest()
        assert post.headers["x-edge-vision-signature"] == f"t={seconds},v1={digest}"


def test_a_known_signature() -> None:
    """Computed with openssl: printf '1700000000.{}' | openssl dgst -sha256 -hmac secret."""
    known = "b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
    assert sign(b"secret", 1_700_000_000, b"{}") == f"t=1700000000,v1={known}"


def test_batches_are_lists_and_end_before_a_megabyte(receiver: Receiver, opening: SinkOpening) -> None:
    """As many as are asked for, or fewer when they are large; one that is larger by itself goes by itself."""
    large = [make_message(number, kind="verdict", body=json.dumps("x" * 400_000).encode()) for number in range(10, 13)]
    huge = make_message(13, body=json.dumps("x" * 1_200_000).encode())
    with open_sink(hook_options(receiver.url, batch=4), opening) as sink:
        sink.send([*numbered_messages(6), *large, huge, *numbered_messages(1)])
    bodies = [json.loads(post.body) for post in receiver.posts]
    assert list(map(len, bodies)) == [4, 4, 1, 1, 1]
    assert bodies[0] == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
    assert [post.headers["x-edge-vision-count"] for post in receiver.posts] == ["4", "4", "1", "1", "1"]
    assert receiver.posts[1].id == "boot-cam-detections-5"
    assert receiver.posts[1].headers["x-edge-vision-kind"] == "detections,verdict"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_receipt(status: int, receiver: Receiver, opening: SinkOpening, drops: Drops) -> None:
    """Whatever it says besides."""
    receiver.replies[:] = [Reply(status, body=b"" if status == 204 else b"thank you")]
    with open_sink(hook_options(receiver.url), opening) as sink:
        sink.send(numbered_messages(2))
    assert len({post.connection for post in receiver.posts}) == 1
    assert drops == []


@pytest.mark.parametrize(
    "status, patience_s",
    [(408, 1), (425, 1), (429, 1), (500, 1), (502, 1), (503, 1), (599, 1), (999, 1),
     (301, 60), (302, 60), (304, 60), (307, 60), (308, 60), (401, 60), (403, 60), (404, 60), (405, 60), (407, 60),
     (415, 60), (418, 60), (421, 60), (431, 60), (451, 60)],
)  # fmt: skip
def test_answers_that_are_not_about_the_message_keep_it(
    status: int, patience_s: float, receiver: Receiver, opening: SinkOpening, drops: Drops
) -> None:
    """Soon again where it is about the moment, slowly where people must mend something; the first was delivered."""
    receiver.replies[:] = [Reply(), Reply(status, (("Location", "https://x.example/secret?b"),))]
    with open_sink(hook_options(receiver.url), opening) as sink:
        error = failure_of(sink, numbered_messages(3))
        assert (error.delivered, error.patience_s) == (1, patience_s)
        assert f"{receiver.url.removesuffix('/hook')}: answered {status}" in str(error)
        redirects = "redirects are not followed (to https://x.example)" in str(error)
        assert redirects == (300 <= status < 400)
        assert "secret" not in str(error)
        sink.send(numbered_messages(3)[1:])
    assert [post.id[-1] for post in receiver.posts] == ["1", "2", "2", "3"]
    assert drops == []


@pytest.mark.parametrize(
    "retry_after, patience_s",
    [("7", 7), ("0", 1), ("86400", 300), ("9" * 60, 300), ("Sun, 22 Nov 2026 12:00:42 GMT", 42),
     ("Sun, 22 Nov 2026 11:00:00 GMT", 1), ("Mon, 23 Nov 2026 12:00:00 GMT", 300), ("soon", 1), ("-5", 1), ("", 1),
     ("1.5", 1), ("Sun, 22 Nov 2026 12:00:42 -0000", 1), ("Sun, 99 Nov 2026 12:00:42 GMT", 1)],
)  # fmt: skip
def test_a_server_may_say_when(retry_after: str, patience_s: float, receiver: Receiver, opening: SinkOpening) -> None:
    """In seconds or as a date, up to five minutes; what cannot be read says nothing."""
    receiver.replies[:] = [Reply(503, (("Retry-After", retry_after),))]
    with open_sink(hook_options(receiver.url), opening) as sink:
        assert failure_of(sink, numbered_messages(1)).patience_s == patience_s


@pytest.mark.parametrize("status", [400, 409, 410, 413, 422])
def test_a_message_that_is_refused_is_dropped_with_the_reason(
    status: int, receiver: Receiver, opening: SinkOpening, drops: Drops
) -> None:
    """The others are delivered all the same."""
    receiver.replies[:] = [Reply(), Reply(status, body=b'{"detail": "no such\\nline"}')]
    with open_sink(hook_options(receiver.url), opening) as sink:
        sink.send(numbered_messages(3))
    ((dropped, reason),) = drops
    assert dropped == "boot-cam-detections-2"
    assert reason.startswith(f"the server refused it: {status} ")
    assert reason.endswith(": no such line")
    assert len(receiver.posts) == 3


def test_of_a_refused_batch_the_message_at_fault_is_found(
    receiver: Receiver, opening: SinkOpening, drops: Drops
) -> None:
    """It is posted again one by one: one is dropped, the rest arrives; the next batch is a batch again."""

    def picky(post: Post) -> Reply:
        return Reply(422 if {"n": 2} in json.loads(post.body) else 204)

    receiver.answer = picky
    with open_sink(hook_options(receiver.url, batch=3), opening) as sink:
        sink.send(numbered_messages(6))
    assert [one for one, _ in drops] == ["boot-cam-detections-2"]
    assert [len(json.loads(post.body)) for post in receiver.posts] == [3, 1, 1, 1, 3]


def test_an_outage_amid_a_refused_batch_says_how_far_it_got(
    receiver: Receiver, opening: SinkOpening, drops: Drops
) -> None:
    """What was delivered or refused before it is not posted again."""
    receiver.replies[:] = [Reply(), Reply(400), Reply(204), Reply(400), Reply(503)]
    with open_sink(hook_options(receiver.url, batch=3), opening) as sink:
        error = failure_of(sink, numbered_messages(6))
    assert error.delivered == 5
    assert [one for one, _ in drops] == ["boot-cam-detections-5"]


def test_progress_is_made_with_each_post(receiver: Receiver, opening: SinkOpening) -> None:
    """So that a long batch is not taken for a thread that hangs."""
    beats = itertools.count()
    with open_sink(hook_options(receiver.url), replace_progress(opening, lambda: next(beats))) as sink:
        sink.send(numbered_messages(4))
    assert next(beats) == 4


def replace_progress(opening: SinkOpening, progress: Callable[[], Any]) -> SinkOpening:
    """The same opening with another `progress`."""
    return SinkOpening(
        opening.site, opening.clock, opening.will, opening.status, progress=progress, on_dropped=opening.on_dropped
    )
