"""Real inference servers for the tests, each in a virtual environment that is made for it."""

import os
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

import pytest
from servers import Server

TESTS = Path(__file__).resolve().parent


class ModelServer(Server):
    """A server of the Open Inference Protocol; `folder` holds its virtual environment, made when it is absent."""

    start_s = 60.0
    requirements: tuple[str, ...]
    script: str

    def __init__(self, ports: tuple[int, int], folder: Path, model: Path, name: str) -> None:
        super().__init__(ports[0])
        self.grpc_port = ports[1]
        self._folder = folder
        self._model = model
        self._name = name

    def install(self) -> None:
        """Make the virtual environment; skips the test, with the reason, where that cannot be done."""
        if (self._folder / "ready").exists():
            return
        pip = [str(self._folder / "bin/python"), "-m", "pip", "install", "--quiet", *self.requirements]
        for command in ([sys.executable, "-m", "venv", str(self._folder)], pip):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            if done.returncode:
                pytest.skip(f"{self.requirements[0]} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        (self._folder / "ready").touch()

    def command(self) -> list[str]:
        """The server's own Python."""
        python = str(self._folder / "bin/python")
        return [python, str(TESTS / self.script), str(self._model), self._name, str(self.port), str(self.grpc_port)]

    def environment(self) -> dict[str, str]:
        """Triton embeds Python, and must find its library; what it unpacks lies beside its environment."""
        return {
            **{key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}},
            "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
            "PYTRITON_HOME": str(self._folder / "home"),
        }

    def start(self) -> None:
        """Start it and wait until the model is ready."""
        super().start()
        url = f"http://127.0.0.1:{self.port}/v2/models/{self._name}/ready"
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"{self.script}: model {self._name} is not ready after 60 s")


class Triton(ModelServer):
    """A real Triton, through nvidia-pytriton."""

    requirements = ("nvidia-pytriton==0.7.*", "numpy<2", "onnxruntime<1.24")
    script = "triton_server.py"


class Kserve(ModelServer):
    """KServe's own server in Python."""

    requirements = ("kserve==0.21.*", "onnxruntime")
    script = "kserve_server.py"
