"""The systemd unit: systemd itself finds nothing wrong with it, and it says what the daemon relies on."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from servers import absent

UNIT = ROOT / "systemd/edge-vision@.service"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as an instance, with a program that exists."""
    if shutil.which("systemd-analyze") is None:
        absent("systemd-analyze is not installed: apt-get install systemd")
    file = tmp_path / "edge-vision@hall-7.service"
    file.write_text(UNIT.read_text().replace("/opt/edge-vision/bin/edge-vision", "/bin/true"))
    return file


def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    """`systemd-analyze verify` says nothing at all: it ends with 0 even for unknown keys."""
    done = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_service_is_confined(installed: Path) -> None:
    """`systemd-analyze security` gives an exposure below 3 (10 is a plain root service)."""
    command = ["systemd-analyze", "security", "--offline=yes", str(installed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    exposure = float(done.stdout.rpartition("Overall exposure level for")[2].split(":")[1].split()[0])
    assert exposure < 3.0


def test_the_unit_says_what_the_daemon_relies_on() -> None:
    """Readiness, the watchdog, the exit code that must not restart, and time enough to drain."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStart"].endswith("edge-vision run /etc/edge-vision/%i.yaml")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(service["WatchdogSec"]) >= 10
    assert service["RestartPreventExitStatus"] == "78"
    assert int(service["TimeoutStopSec"]) > 15
