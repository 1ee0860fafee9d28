"""What is said of an MQTT broker that cannot be reached, and how long it is left alone."""

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from certificates import issue, make_authority
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge_vision.publish.mqtt.certificate import why_invalid
from edge_vision.publish.mqtt.words import DOUBTFUL_S, SLOW_S, cause_of, ended_without_answer, farewell, refusal


@pytest.mark.parametrize(
    "code,words,patience_s",
    [
        (0x86, "Bad user name or password (check username and password)", SLOW_S),
        (0x87, "Not authorized (check username and password", SLOW_S),
        (0x8A, "Banned (the broker's administrator has banned this client)", SLOW_S),
        (0x84, "Unsupported protocol version (set protocol to the version that it speaks)", SLOW_S),
        (0x88, "Server unavailable", 0.0),
        (0x89, "Server busy", 0.0),
        (0x9F, "Connection rate exceeded", 0.0),
    ],
)
def test_refusals_that_a_person_must_mend_are_left_alone(code: int, words: str, patience_s: float) -> None:
    """A wrong password stays wrong; a busy broker may be free in a second."""
    cause = refusal(ReasonCode(PacketTypes.CONNACK, identifier=code), "user 'edge'")
    assert cause.text == f"the broker refused the connection of user 'edge': {words}" or words in cause.text
    assert cause.patience_s == patience_s


def test_two_sites_with_one_name_do_not_throw_each_other_out_for_ever() -> None:
    """A session taken over: said what it means, and left alone."""
    cause = farewell(ReasonCode(PacketTypes.DISCONNECT, "Session taken over"))
    assert "another client uses the same client_id" in cause.text
    assert cause.patience_s == SLOW_S
    assert farewell(ReasonCode(PacketTypes.DISCONNECT, "Server shutting down")).patience_s == 0.0


def _tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    "error,words,patience_s",
    [
        (ConnectionRefusedError(111, "Connection refused"), "cannot connect: Connection refused", 0.0),
        (TimeoutError("timed out"), "cannot connect: no answer within 3 s", 0.0),
        (UnicodeError("label empty"), "not the name of a host", SLOW_S),
        (KeyError("x"), "cannot connect: KeyError", 0.0),
        (_tls("WRONG_VERSION_NUMBER"), "does not speak TLS", SLOW_S),
        (_tls("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "the certificate of this client has expired", SLOW_S),
        (_tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "set tls.certificate and tls.key", SLOW_S),
        (_tls("TLSV1_ALERT_NEWER"), 'ended the TLS connection with "newer"', SLOW_S),
        (_tls("DECRYPTION_FAILED"), "TLS: decryption failed", DOUBTFUL_S),
    ],
)
def test_errors_of_the_network_in_words(error: Exception, words: str, patience_s: float) -> None:
    """Each with the cause, and with patience where trying soon is of no use."""
    cause = cause_of(error, connected=False, timeout_s=3.0)
    assert words in cause.text
    assert cause.patience_s == patience_s


def test_an_error_says_how_often_it_is_tried_again() -> None:
    """Where that is seldom."""
    error = ended_without_answer(b"\x15").error("broker:1883", 3)
    assert str(error).startswith("broker:1883: cannot connect: the broker speaks TLS on this port")
    assert str(error).endswith("; asked again only every 60 to 300 s")
    assert (error.delivered, error.patience_s) == (3, 60.0)


def test_the_dates_of_a_certificate(tmp_path: Path) -> None:
    """Read from the file, as openssl wrote it; a file that is none has nothing wrong that could be told."""
    pair = issue(make_authority(tmp_path, "ca"), "edge")
    now = datetime.now(timezone.utc)
    assert why_invalid(pair.certificate, now) == ""
    assert "has expired on" in why_invalid(pair.certificate, now + timedelta(days=3))
    assert "is valid from" in why_invalid(pair.certificate, now - timedelta(days=3))
    for content in ("", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "\xff\0"):
        (tmp_path / "none.pem").write_text(content)
        assert why_invalid(tmp_path / "none.pem", now) == ""
    assert why_invalid(tmp_path / "absent.pem", now) == ""
