"""A PostgreSQL server for a test: its own folder, reached by a socket only, ended with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.conftest import component_missing


@contextmanager
def server() -> Iterator[str]:
    """The connection string of a running server. Where PostgreSQL is missing the test skips, and fails in CI."""
    found = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default="")
    if not found:
        component_missing("PostgreSQL's initdb (Debian and Ubuntu: apt-get install postgresql)")
    programs = Path(found).parent
    with tempfile.TemporaryDirectory(prefix="imi-pg-") as name:
        as_user = []
        if os.geteuid() == 0:  # initdb refuses root
            shutil.chown(name, "nobody")
            as_user = ["runuser", "-u", "nobody", "--"]
        data = Path(name) / "data"
        subprocess.run(
            [*as_user, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
             "--no-locale", "--no-sync"], check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        process = subprocess.Popen(
            [*as_user, programs / "postgres", "-D", data, "-k", name, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            address = f"host={name} user=postgres dbname=postgres"
            _wait(address)
            yield address
        finally:
            stop = [*as_user, programs / "pg_ctl", "stop", "-D", data, "-m", "fast", "-w"]
            subprocess.run(stop, check=True, stdout=subprocess.DEVNULL)
            process.wait(30)


def _wait(address: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
