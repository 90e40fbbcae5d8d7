"""`transformers serve`, a real server of the OpenAI dialect, on a checkpoint on this machine."""

import os
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

# The command itself; without accelerate, which is there to place models on devices, the model stays where it is loaded.
SERVE = """
from importlib.util import find_spec
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.transformers import main

load = ModelManager._load_model

def load_without_placing(self, *args, **kwargs):
    self.device = None
    return load(self, *args, **kwargs)

if not find_spec("accelerate"):
    ModelManager._load_model = load_without_placing
main()
"""
SERVES = all(find_spec(name) for name in ("fastapi", "uvicorn", "openai", "multipart", "transformers"))


class RealServer:
    """A `transformers serve` on a free port, with nothing from outside, while the block lasts; gives its address."""

    def __init__(self, checkpoint: Path, log: Path) -> None:
        self.checkpoint, self.log = checkpoint, log

    def __enter__(self) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-c", SERVE, "serve", str(self.checkpoint), "--host", "127.0.0.1", "--port", str(port)]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log.open("w"), stderr=subprocess.STDOUT)
        self._wait_for(port)
        return f"http://127.0.0.1:{port}/v1"

    def _wait_for(self, port: int) -> None:
        for _ in range(600):
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        self.__exit__()
        raise AssertionError(f"transformers serve did not come up:\n{self.log.read_text()[-2000:]}")

    def __exit__(self, *error) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
