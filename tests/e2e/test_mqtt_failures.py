"""MQTT sinks whose settings, broker or certificates are wrong: said once, clearly, no secrets, no hammering."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Pair, issue, make_authority
from conftest import Start, find_free_port, wait_until
from listeners import Heard, mqtt_listener
from servers import Broker

CANARY = "canary-7f3a-never-in-a-log"
SECRETS = {"MQTT_CANARY": CANARY, "MQTT_KEY_CANARY": f"{CANARY}-key", "MQTT_RIGHT": "right-horse"}
LOG_LINE = re.compile(r"^\S+ \S+ (WARNING|ERROR) +(?P<text>.*)$")


class Plant:
    """Brokers, each with a fault of its own or that of its client, and the sinks for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.brokers: dict[str, Broker] = {}
        self.sinks: dict[str, dict[str, Any]] = {}
        self.ca, self.alien = make_authority(folder, "ca"), make_authority(folder, "alien")
        self.server = issue(self.ca, "server")

    def add(self, name: str, config: str = "allow_anonymous true\n", **sink: Any) -> None:
        """A broker and a sink that wants to reach it; that of `absent` is not started."""
        folder = self.folder / name
        folder.mkdir()
        port = find_free_port()
        self.brokers[name] = broker = Broker(port, folder, config)
        standard = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout_s": 10.0, "kinds": ["status"]}
        self.sinks[name] = {**standard, **sink}
        if name != "absent":
            broker.start()

    def tls(self, server: Pair | None = None, more: str = "") -> str:
        """Settings of a broker with TLS."""
        server = server or self.server
        files = f"cafile {self.ca.certificate}\ncertfile {server.certificate}\nkeyfile {server.key}\n"
        return f"allow_anonymous true\n{files}{more}"

    def trusting(self, **more: Any) -> dict[str, Any]:
        """A sink's TLS that trusts the right authority."""
        return {"tls": {"ca_file": str(self.ca.certificate), **more}}

    def close(self) -> None:
        """End all brokers."""
        for broker in self.brokers.values():
            broker.kill()


@pytest.fixture(name="plant")
def _plant(tmp_path: Path) -> Iterator[Plant]:
    plant = Plant(tmp_path)
    try:
        yield plant
    finally:
        plant.close()


EXPECTED = {
    "wrong_authority": "the broker's certificate is not to be trusted: self-signed certificate in certificate chain",
    "expired_server": "the broker's certificate is not to be trusted: certificate has expired",
    "wrong_name": "IP address mismatch, certificate is not valid for '127.0.0.1' (see tls.server_name)",
    "expired_client": "the certificate of this client has expired",
    "no_certificate": "want",
    "wrong_key_password": "no certificate and key can be read: not PEM, encrypted with another password, or not a pair",
    "wrong_password": "the broker refused the connection of user 'edge': Not authorized (check username and password",
    "denied": "the broker takes nothing from user 'edge': Not authorized, such as topic "
    "edge-vision/v1/test/status; check its access list",
    "plain_to_tls": "the broker ended the connection without an answer: does it speak TLS on this port?",
    "tls_to_plain": "the broker ended the connection in the TLS handshake: does it speak TLS on this port",
}
"""What is said of each sink that fails; two more work, and one finds nobody at first."""
WATCHED_S = 6.0


def test_each_fault_is_said_once_and_no_broker_is_hammered(
    plant: Plant, edge_vision: Start, write_site: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One daemon, thirteen sinks: ten with a fault, two that work, one whose broker comes later."""
    wants_one = "require_certificate true\n"
    passwords, acl = plant.folder / "passwords", plant.folder / "acl"
    _write_passwords(passwords, "edge", SECRETS["MQTT_RIGHT"])
    acl.write_text("user somebody\ntopic readwrite #\n")
    login = f"allow_anonymous false\npassword_file {passwords}\n"
    right = {"username": "edge", "password": {"env": "MQTT_RIGHT"}}
    files = {
        name: {"certificate": str(pair.certificate), "key": str(pair.key)}
        for name, pair in {
            "good": issue(plant.ca, "client", names="DNS:edge"),
            "old": issue(plant.ca, "old", names="DNS:edge", days=-1),
            "locked": issue(plant.ca, "locked", names="DNS:edge", password=SECRETS["MQTT_RIGHT"]),
        }.items()
    }
    plant.add("wrong_authority", plant.tls(), tls={"ca_file": str(plant.alien.certificate)})
    plant.add("expired_server", plant.tls(issue(plant.ca, "late", days=-1)), **plant.trusting())
    plant.add("wrong_name", plant.tls(issue(plant.ca, "elsewhere", names="DNS:elsewhere")), **plant.trusting())
    plant.add("expired_client", plant.tls(more=wants_one), **plant.trusting(**files["old"]))
    plant.add("no_certificate", plant.tls(more=wants_one), **plant.trusting())
    locked = {**files["locked"], "key_password": {"env": "MQTT_KEY_CANARY"}}
    plant.add("wrong_key_password", plant.tls(more=wants_one), **plant.trusting(**locked))
    plant.add("wrong_password", login, username="edge", password={"env": "MQTT_CANARY"})
    plant.add("denied", f"{login}acl_file {acl}\n", **right)
    plant.add("plain_to_tls", plant.tls())
    plant.add("tls_to_plain", **plant.trusting())
    plant.add("client_certificate", plant.tls(more=wants_one), **plant.trusting(**files["good"]))
    unlocked = {**files["locked"], "key_password": {"env": "MQTT_RIGHT"}, "minimum_version": "1.3"}
    plant.add("unlocked", login + plant.tls(more=wants_one).partition("\n")[2], **right, **plant.trusting(**unlocked))
    plant.add("absent")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    source = {"kind": "synthetic", "size": [320, 180], "fps": 5.0}
    cameras = [{"id": "line", "source": source, "pipeline": "motion_only"}]
    log = plant.folder / "daemon.log"
    with log.open("w") as stream:
        process = edge_vision("run", write_site(cameras=cameras, publish=list(plant.sinks.values())), stderr=stream)
        wait_until(lambda: all(_warnings(log, plant, name) for name in EXPECTED), 60, "every fault is said")
        time.sleep(WATCHED_S)  # nothing to wait for: that nothing happens is what is asked
        plant.brokers["absent"].start()
        wait_until(lambda: plant.brokers["absent"].attempts >= 1, 30, "whoever was absent is found within seconds")
        with mqtt_listener(plant.brokers["absent"].port) as heard:
            sound = [f"mqtt 127.0.0.1:{plant.sinks[name]['port']}" for name in ("client_certificate", "unlocked")]
            wait_until(lambda: all(_states(heard).get(one) == "online" for one in sound), 60, "two work")
            told = str(heard.on("edge-vision/v1/test/status"))
        process.kill()  # an orderly end would try for ten seconds to deliver
        process.wait(60)
    text = log.read_text()
    for name, expected in EXPECTED.items():
        said = _warnings(log, plant, name)
        seldom = 2 if "15 to 75 s" in said[0] else 1
        assert len(said) <= seldom, said
        assert plant.brokers[name].attempts <= seldom, name
        assert expected in said[0]
        assert re.search(r"asked again only every (60 to 300|15 to 75) s; trying again, next in \d+", said[0]), said
    for name in ("client_certificate", "unlocked"):
        assert _warnings(log, plant, name) == []
    assert len(_warnings(log, plant, "absent")) == 1
    assert not any(secret in text + told for secret in SECRETS.values())
    assert "Traceback" not in text


def _states(heard: Heard) -> dict[str, str]:
    """How each sink is, by the newest status."""
    return {row["sink"]: row["state"] for row in heard.last("edge-vision/v1/test/status").get("publish", [])}


def _warnings(log: Path, plant: Plant, name: str) -> list[str]:
    """The warnings about a sink."""
    sink = f"mqtt 127.0.0.1:{plant.sinks[name]['port']}: "
    found = [LOG_LINE.match(line) for line in log.read_text().splitlines()]
    return [match["text"] for match in found if match and match["text"].startswith(sink)]


def _write_passwords(file: Path, user: str, password: str) -> None:
    file.write_text(f"{user}:{password}\n")
    subprocess.run(["mosquitto_passwd", "-U", str(file)], check=True, timeout=60)
