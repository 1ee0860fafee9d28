"""Topics of MQTT: what a template makes, and which templates are refused."""

import pytest
from pydantic import ValidationError

from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.mqtt.topic import USUAL, checked_template, topic_of
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock


@pytest.mark.parametrize(
    "template,source,expected",
    [
        (USUAL, "gate", "edge-vision/v1/hall/gate/status"),
        (USUAL, "", "edge-vision/v1/hall/status"),
        ("plant/{kind}/{source}", "", "plant/status"),
        ("plant/{source}", "", "plant"),
        ("{source}/{site}", "", "hall"),
        ("a//{source}/b", "", "a//b"),
        ("{source}-{kind}", "", "-status"),
        ("{{x}}/{site}", "gate", "{x}/hall"),
        ("constant", "gate", "constant"),
    ],
)
def test_a_template_makes_a_topic(template: str, source: str, expected: str) -> None:
    """Placeholders are filled in; a level that is empty because there is no source is left out."""
    assert topic_of(checked_template(template), "hall", source, "status") == expected


@pytest.mark.parametrize(
    "template,words",
    [
        ("plant/{sorce}", "unknown placeholder 'sorce'; did you mean source?"),
        ("plant/{}", "unknown placeholder"),
        ("plant/{0}", "unknown placeholder"),
        ("plant/{site.__class__}", "unknown placeholder"),
        ("plant/{site!r}", "a placeholder is {site} and nothing else"),
        ("plant/{site:>9}", "a placeholder is {site} and nothing else"),
        ("plant/{site", "expected '}'"),
        ("plant/+/{site}", "'+' cannot be in a topic"),
        ("plant/#", "'#' cannot be in a topic"),
        ("plant/\0", "cannot be in a topic"),
        ("plant/\n", "cannot be in a topic"),
        ("$SYS/{site}", "the broker's own"),
        ("{source}", "would have no topic"),
        ("", "at least 1 character"),
        ("é" * 513, "longer than 1024 bytes"),
    ],
)
def test_templates_that_cannot_be_published_to_are_refused(template: str, words: str) -> None:
    """Wildcards, control characters, unknown placeholders: an error at `check`, not at the broker."""
    with pytest.raises(ValidationError) as caught:
        MqttOptions.model_validate({"kind": "mqtt", "host": "h", "topic": template})
    assert words in str(caught.value)


def test_the_usual_template_is_what_every_message_has_already() -> None:
    """So that whoever sets nothing gets on MQTT what others get on ZeroMQ."""
    will = Wire("hall", "boot", SystemClock()).will()
    assert topic_of(USUAL, "hall", will.source, will.kind) == will.topic


def test_versions_may_be_written_as_numbers() -> None:
    """YAML reads `protocol: 5` and `minimum_version: 1.3` as numbers."""
    given = {"kind": "mqtt", "host": "h", "protocol": 5, "tls": {"minimum_version": 1.3}}
    options = MqttOptions.model_validate(given)
    assert options.protocol == "5"
    assert options.tls is not None
    assert options.tls.minimum_version == "1.3"


@pytest.mark.parametrize(
    "given,port", [({}, 1883), ({"tls": {}}, 8883), ({"tls": {}, "port": 1883}, 1883), ({"tls": None}, 1883)]
)
def test_the_port_follows_tls(given: dict[str, object], port: int) -> None:
    """8883 with TLS, unless the site says otherwise."""
    assert MqttOptions.model_validate({"kind": "mqtt", "host": "h", **given}).port == port


@pytest.mark.parametrize(
    "given,words",
    [
        ({"protocol": "3.1"}, "protocol"),
        ({"protocol": True}, "protocol"),
        ({"protocol": "3.1.1", "message_expiry_s": 60}, "needs protocol 5"),
        ({"tls": {"key": "a.key"}}, "key needs a certificate beside it"),
        ({"tls": {"key_password": {"env": "A"}}}, "key_password needs a certificate beside it"),
        ({"tls": {"minimum_version": "1.1"}}, "minimum_version"),
        ({"tls": {"verify": False}}, "verify"),
        ({"session_expiry_s": -1}, "session_expiry_s"),
        ({"resend_s": -1}, "resend_s"),
    ],
)
def test_what_mqtt_cannot_do_is_refused(given: dict[str, object], words: str) -> None:
    """Old versions, keys without certificates, and switching verification off."""
    with pytest.raises(ValidationError, match=words):
        MqttOptions.model_validate({"kind": "mqtt", "host": "h", **given})
