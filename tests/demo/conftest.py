"""One whole demo federation for all tests of this folder: real processes, played once, then kept up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 240


def imi_node(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run one command of the installed `imi-node`."""
    command = [sys.executable, "-m", "node", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **more)


@dataclass
class Demo:
    """A running demo: its folder, what it told, and federation.json."""

    folder: Path
    process: subprocess.Popen[bytes]
    places: dict[str, Any] = field(default_factory=dict)

    @property
    def transcript(self) -> str:
        return (self.folder.parent / "transcript").read_text(encoding="utf-8")

    def config(self, node: str) -> str:
        return str(self.folder / "nodes" / node / "node.toml")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Demo]:
    base = tmp_path_factory.mktemp("demo")
    with (base / "transcript").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "node", "demo", "--dir", str(base / "federation"), "--base-port", "0"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
        found = Demo(base / "federation", process)
        try:
            _wait(found)
            found.places = json.loads((found.folder / "federation.json").read_text())["nodes"]
            yield found
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)


def _wait(demo: Demo) -> None:
    end = time.monotonic() + START_SECONDS
    while "stays up" not in demo.transcript:
        assert demo.process.poll() is None, demo.transcript[-3000:]
        assert time.monotonic() < end, demo.transcript[-3000:]
        time.sleep(0.2)  # the process tells by its transcript alone
