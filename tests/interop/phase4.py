"""phase4 as a process: a receiver that stays, and a sender for some messages.

What the two commands do and print is written in the Javadoc of tests/interop/phase4.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from node.federation import as4
from node.federation.as4 import names

from .keys import PASSWORD

PROJECT = Path(__file__).parent / "phase4"
TARGET = Path(__file__).parents[2] / "build" / "interop"  # as pom.xml says
BUILD_SECONDS = 400  # the first time, Maven fetches what it needs
START_SECONDS = 60
SEND_SECONDS = 90
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g")  # for tests; a measurement wants the full compiler


class Missing(Exception):
    """Something outside this repository that phase4 needs is not there."""


def build() -> Path:
    """Compile phase4's access point; the folder it and its libraries are in.

    Raises:
        Missing: no Java, no Maven, or Maven cannot fetch the libraries.
    """
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed: no phase4")
    command = ["mvn", "-q", "-B", "-f", str(PROJECT), "package"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if "Could not transfer" in built.stdout:
        raise Missing("Maven cannot fetch phase4")
    assert built.returncode == 0, built.stdout
    return TARGET


class Party(Protocol):
    """A party as its files: see `keys.Identity`."""

    node: str
    folder: Path


@dataclass(frozen=True)
class Received:
    """A message as phase4's consumer wrote it down."""

    header: dict[str, Any]
    payloads: list[bytes]


@dataclass
class Phase4:
    """One phase4 access point: `us` is its identity, `peer` the one it speaks with."""

    classpath: Path
    suite: as4.Suite
    us: Party
    peer: Party
    folder: Path
    options: tuple[str, ...] = QUICK

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def receiving(self, **settings: object) -> Iterator[Receiver]:
        inbox = self.folder / "inbox"
        inbox.mkdir(exist_ok=True)
        command = self._command("receive", {"folder": inbox, **settings})
        with (self.folder / "receive.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        receiver = Receiver(process, inbox)
        try:
            receiver.port = int(receiver.line("ready", START_SECONDS)[0])
            yield receiver
        finally:
            receiver.stop()

    async def send(
        self, url: str, *parts: as4.Part, seconds: float = SEND_SECONDS, **settings: object
    ) -> list[dict[str, Any]]:
        """Send messages with `parts`; a line of the sender for each post.

        `settings` are those of the sender's properties, with `_` for `.` in their names.
        """
        command = self.sending(url, parts, {name.replace("_", "."): value for name, value in settings.items()})
        with (self.folder / "send.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log)
        try:
            async with asyncio.timeout(seconds):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, (self.folder / "send.log").read_text()
        return [json.loads(line) for line in output.splitlines()]

    def sending(self, url: str, parts: Iterable[as4.Part], settings: Mapping[str, object]) -> list[str]:
        """The command that sends messages with `parts` to `url`."""
        values: dict[str, object] = {
            "url": url,
            "peer.sign": self.peer.folder / "sign.pem",
            "peer.encrypt": self.peer.folder / "encrypt.pem",
            "from": as4.party_of(self.us.node),
            "to": as4.party_of(self.peer.node),
            "party.type": names.UNREGISTERED,
            "conversation": "conversation-1",
            "domain": "phase4.example",
        }
        for number, part in enumerate(parts, start=1):
            file = self.folder / f"send-{time.monotonic_ns()}-{number}"
            file.write_bytes(part.content)
            name = f"part.{number}"
            values |= {name: file, f"{name}.type": part.mime_type, f"{name}.compressed": str(part.compressed).lower()}
            values |= {f"{name}.charset": part.charset or ""}
        return self._command("send", values | settings)

    def _command(self, command: str, settings: Mapping[str, object]) -> list[str]:
        values: dict[str, object] = {"suite": self.suite.name, "password": PASSWORD}
        values |= {f"{name}.store": self.us.folder / file for name, file in _STORES.items()}
        values |= dict.fromkeys(("sign.trust", "tls.trust"), self.peer.folder / "authority.pem")
        file = self.folder / f"{command}-{time.monotonic_ns()}.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in (values | settings).items()))
        home = f"-Djava.io.tmpdir={self.folder}"
        classpath = f"{self.classpath}/*:{self.classpath}/lib/*"
        return ["java", *self.options, home, "-cp", classpath, "eu.imi.interop.Main", command, str(file)]


_STORES = {"sign": "sign.p12", "crypt": "encrypt.p12", "tls": "tls.p12"}


class Receiver:
    """A running receiver."""

    port: int

    def __init__(self, process: subprocess.Popen[bytes], inbox: Path) -> None:
        self.process, self.inbox = process, inbox
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="phase4 output", daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/as4"

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def line(self, first: str, seconds: float) -> list[str]:
        """The words after `first` in the next line it prints."""
        words = self._lines.get(timeout=seconds).decode().split()
        assert words[:1] == [first], f"phase4 printed {words}, see receive.log beside {self.inbox}"
        return words[1:]

    def usage(self) -> tuple[float, float, int]:
        """Seconds of CPU, of them compiling, and messages taken, since it started."""
        assert self.process.stdin
        self.process.stdin.write(b"usage\n")
        self.process.stdin.flush()
        cpu, compiling, taken = self.line("usage", 10)
        return float(cpu), float(compiling), int(taken)

    def received(self, message_id: str) -> list[Received]:
        """What the consumer has under this id: one message, or none."""
        found = []
        for folder in sorted(self.inbox.iterdir()):
            if folder.name.startswith("."):
                continue
            header = json.loads((folder / "message.json").read_text())
            if header["message_id"] == message_id:
                payloads = [(folder / f"part-{n}").read_bytes() for n in range(1, len(header["parts"]) + 1)]
                found.append(Received(header, payloads))
        return found

    def stop(self) -> None:
        """By the end of its standard input; killed if that takes too long."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.kill(self.process.pid, 9)
            self.process.wait(timeout=10)
        self._reader.join(timeout=10)
        self.process.stdout.close()
