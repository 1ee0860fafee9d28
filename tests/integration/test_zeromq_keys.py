"""Who may listen to the ZeroMQ sink and ask its replay socket: keys, and a file of them."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq
from zeromq_site import Site, ask, asking, idle, join, make_message, make_pair, numbers, read_until

from edge_vision.core.errors import SinkError
from edge_vision.publish.zeromq.reader import ReaderKeys


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _strangers(site: Site) -> Iterator[tuple[str, ReaderKeys | None]]:
    """Clients that may not connect."""
    yield "no key", None
    yield "a key that is not listed", ReaderKeys(site.public, make_pair()[1])
    yield "the wrong key of the site", ReaderKeys(make_pair()[0], site.client[1])


def test_only_clients_with_a_listed_key_get_anything(site: Site) -> None:
    """Of PUB and of the replay socket: one hears, and the others, plain ones too, hear and learn nothing."""
    with ExitStack() as stack:
        sink, friend = stack.enter_context(site.open()), stack.enter_context(site.read())
        opened = [stack.enter_context(site.read(keys=keys)) for _, keys in _strangers(site)]
        join(site, sink, friend)
        sent = list(range(1, 41))
        heard = []
        for number in sent:
            site.publish(sink, make_message(number))
            heard += friend.take(0.02)
            for reader, (what, _) in zip(opened, _strangers(site), strict=True):
                assert reader.take(0.01) == [], what
        heard += read_until(friend, lambda found: 40 in numbers(heard + found))
        assert numbers(heard) == sent
        for what, keys in _strangers(site):
            with asking(site.replay, keys, RCVTIMEO=700) as dealer:
                dealer.send(b'{"ranges": true}')
                with pytest.raises(zmq.Again):
                    pytest.fail(f"{what} was answered: {dealer.recv_multipart()}")
        with asking(site.replay, site.keys) as dealer:
            assert ask(dealer, {"ranges": True})[1]["done"]


def test_who_is_refused_is_in_the_log_and_no_secret_is(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """With the public key, so that it can be added; once a minute, however often they come."""
    stranger = make_pair()
    with site.open() as sink:
        for _ in range(3):
            with site.read(keys=ReaderKeys(site.public, stranger[1])) as reader:
                idle(sink, lambda reader=reader: bool(reader.take(0.05)) or "refused" in caplog.text)  # type: ignore[misc]
    assert len(re.findall("refused a client", caplog.text)) == 1
    assert stranger[0] in caplog.text
    assert site.secret not in caplog.text
    assert stranger[1] not in caplog.text
    assert stranger[1] not in repr(ReaderKeys(site.public, stranger[1]))


def test_a_file_of_clients_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is added may connect at once; a file that is broken leaves those that were read."""
    first, second = make_pair(), make_pair()
    clients = tmp_path / "clients"
    clients.write_text(f"# the presses\n\n{first[0]} press 7\n")
    secret = tmp_path / "of the site"
    site = Site(tmp_path, curve={"secret_key": {"file": secret}, "clients_file": clients})
    secret.write_text(site.secret)
    with site.open():
        with asking(site.replay, ReaderKeys(site.public, second[1]), RCVTIMEO=500) as dealer:
            dealer.send(b'{"ranges": true}')
            with pytest.raises(zmq.Again):
                dealer.recv_multipart()
        clients.write_text(f"{first[0]} press 7\n{second[0]} press 8\n")
        with asking(site.replay, ReaderKeys(site.public, second[1])) as dealer:
            assert ask(dealer, {"ranges": True})[1]["done"]
        clients.write_text("no key\n")
        with asking(site.replay, ReaderKeys(site.public, first[1])) as dealer:
            assert ask(dealer, {"ranges": True})[1]["done"]
    assert "clients:1: a key has 40 characters, not 2; the keys read before go on" in caplog.text


@pytest.mark.parametrize("content", [None, "", "short\n", "~" * 40])
def test_a_key_that_cannot_be_read_is_a_sink_error_without_it(content: str | None, site: Site) -> None:
    """The reference or the file is named, and nothing of what is in it."""
    site.file.unlink() if content is None else site.file.write_text(content)
    with pytest.raises(SinkError, match=r"curve: .*(cannot be read|a key has|character 1 is)") as caught, site.open():
        pytest.fail("it was opened")
    assert not content or content.strip() not in str(caught.value)


def test_without_its_gate_nobody_is_let_in(site: Site) -> None:
    """Those with a listed key neither: libzmq alone would take everybody while nobody answers it."""
    with site.open() as sink:
        gate = sink._services[0]  # type: ignore[attr-defined]
        gate.worker.stop()
        gate.worker.join(60)
        for keys in (site.keys, ReaderKeys(site.public, make_pair()[1])):
            with asking(site.replay, keys, RCVTIMEO=500) as dealer:
                dealer.send(b'{"ranges": true}')
                with pytest.raises(zmq.Again):
                    pytest.fail(f"answered: {dealer.recv_multipart()}")
