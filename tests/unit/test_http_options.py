"""Checks which addresses and headers a webhook's options take, and when http is too little."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_vision.core.options import Secret
from edge_vision.publish.http.options import HttpSinkOptions


def _options(**given: Any) -> HttpSinkOptions:
    return HttpSinkOptions.model_validate({"kind": "http", "url": "https://mes.example/hook", **given})


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://mes.example/a/b?c=d&e=%20@f", "https://mes.example"),
        ("https://mes.example", "https://mes.example"),
        ("https://10.0.0.5:8443?x", "https://10.0.0.5:8443"),
        ("https://[fe80::1]:1/", "https://[fe80::1]:1"),
        ("http://localhost/", "http://localhost"),
        ("http://127.0.0.1:8000/a", "http://127.0.0.1:8000"),
        ("http://127.9.9.9/a", "http://127.9.9.9"),
        ("http://[::1]:80/", "http://[::1]:80"),
    ],
)
def test_addresses_that_are_taken(url: str, shown: str) -> None:
    """Logs and dumps have them without the path, which is often a secret."""
    options = _options(url=url)
    assert options.url == url
    assert options.shown_url == shown
    assert options.model_dump(mode="json")["url"] == shown


@pytest.mark.parametrize(
    "url, words",
    [
        ("https://bob:pw@mes/", "credentials inside a URL"),
        ("https://bob@mes/", "credentials inside a URL"),
        ("https://mes\\@evil/", "credentials inside a URL"),
        ("ftp://mes/", "must be https"),
        ("HTTPS://mes/", "must be https"),
        ("https:/mes/", "must be https"),
        ("https:///hook", "must be https"),
        ("mes.example/hook", "must be https"),
        ("https://mes/a b", "must be https"),
        ("https://mes/a#b", "must be https"),
        ("https://mes/ä", "must be https"),
        ("https://mes/\n", "must be https"),
        ("https://mes\r\nX: y/", "must be https"),
        ("https://mes:0/", "port 0"),
        ("https://mes:65536/", "(?i)port out of range"),
        ("https://mes:abc/", "must be https"),
        ("", "must be https"),
        ("https://mes/" + "a" * 2048, "at most 2048"),
    ],
)
def test_addresses_that_are_not(url: str, words: str) -> None:
    """With a reason, which does not repeat them."""
    with pytest.raises(ValidationError, match=words) as caught:
        _options(url=url)
    assert "bob" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["mes.example", "10.0.0.5", "[2001:db8::1]", "localhost.example", "0.0.0.0", "128.0.0.1"]
)
def test_http_to_another_machine_must_be_asked_for(host: str) -> None:
    """Everybody in between can read it, tokens too."""
    with pytest.raises(ValidationError, match="plain: true"):
        _options(url=f"http://{host}/hook")
    assert _options(url=f"http://{host}/hook", plain=True).plain


@pytest.mark.parametrize(
    "given, words",
    [
        ({"key": "k.pem"}, "needs its certificate"),
        ({"url": "http://localhost/", "ca_file": "ca.pem"}, "ca_file is for https"),
        ({"url": "http://localhost/", "certificate": "c.pem"}, "certificate is for https"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"batch": 1001}, "less than or equal to 1000"),
        ({"timeout_s": 0}, "greater than 0"),
        ({"headers": {"X A": "b"}}, "no name of a header"),
        ({"headers": {"X\r\nA": "b"}}, "no name of a header"),
        ({"headers": {"": "b"}}, "no name of a header"),
        ({"headers": {"X-A": "b\r\nX: y"}}, "visible ASCII"),
        ({"headers": {"X-A": "b\n"}}, "visible ASCII"),
        ({"headers": {"X-A": ""}}, "visible ASCII"),
        ({"headers": {"X-A": "ü"}}, "visible ASCII"),
        ({"headers": {"X-A": "b", "x-a": "c"}}, "listed twice"),
        ({"headers": {"host": "b"}}, "set by the sink itself"),
        ({"headers": {"Content-Length": "5"}}, "set by the sink itself"),
        ({"headers": {"X-Edge-Vision-Id": "5"}}, "set by the sink itself"),
        ({"headers": {"authorization": "Bearer canary"}}, "authorization is a secret"),
        ({"headers": {"Cookie": "canary"}}, "Cookie is a secret"),
        ({"headers": {f"X-{number}": "b" for number in range(33)}}, "at most 32"),
        ({"secret": "canary"}, "secret"),
        ({"durable": ["status", "status"]}, "listed twice"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], words: str) -> None:
    """Before anything is started; no value that may be a secret is repeated."""
    with pytest.raises(ValidationError, match=words) as caught:
        _options(**given)
    assert "canary" not in str(caught.value)


def test_a_webhook_acknowledges() -> None:
    """All kinds but detections are durable, unless it says otherwise."""
    options = _options(headers={"Authorization": {"env": "A"}, "X-Line": "7 b"})
    assert [options.owes(kind) for kind in ("detections", "status", "gap", "line_crossed")] == [False, True, True, True]
    assert options.headers == {"Authorization": Secret(env="A"), "X-Line": "7 b"}
    assert options.batch == 1
