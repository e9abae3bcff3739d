"""The one door to the database: groups that commit together, units that fail alone, clear words when it cannot open."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from node import local_store
from node.errors import SetupError
from node.local_store import migrations
from node.local_store.database import CannotOpenDatabase, Database, DatabaseClosed, DiskFull, after_commit
from node.local_store.tables import Base, UtcDateTime


@pytest.fixture
def database(tmp_path):
    opened = Database.open(tmp_path / "node.db", create=True)
    opened.run(lambda s: s.execute(text("CREATE TABLE t (x INTEGER UNIQUE)")))
    yield opened
    opened.close()


def put(session: Session, x: int) -> int:
    session.execute(text("INSERT INTO t VALUES (:x)"), {"x": x})
    return x


def put_and_fail(session: Session, x: int) -> None:
    put(session, x)
    raise ValueError(x)


def values(session: Session) -> list[int]:
    return [row.x for row in session.execute(text("SELECT x FROM t ORDER BY x"))]


async def test_a_unit_that_fails_undoes_only_itself(database):
    gate = threading.Event()
    blocker = asyncio.create_task(database.transact(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)  # the others gather behind it, into one group
    work = [asyncio.create_task(database.transact(put_and_fail if n % 3 == 0 else put, n)) for n in range(12)]
    await asyncio.sleep(0.05)
    gate.set()
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    await blocker
    assert [type(o) for o in outcomes] == [ValueError if n % 3 == 0 else int for n in range(12)]
    assert await database.read(values) == [n for n in range(12) if n % 3]


async def test_callbacks_run_after_the_commit_and_never_for_what_failed(database):
    called: list[int] = []

    def unit(session: Session, x: int, *, fail: bool) -> None:
        put(session, x)
        after_commit(session, lambda: called.append(x))
        if fail:
            raise ValueError(x)

    await database.transact(unit, 1, fail=False)
    with pytest.raises(ValueError, match="2"):
        await database.transact(unit, 2, fail=True)
    assert called == [1]


async def test_a_cancelled_caller_waits_for_the_end(database):
    begun, gate = threading.Event(), threading.Event()

    def slow(session: Session) -> None:
        begun.set()
        gate.wait(5)
        put(session, 7)

    task = asyncio.create_task(database.transact(slow))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.read(values) == [7]


async def test_callbacks_run_for_a_caller_that_was_cancelled(database):
    begun, gate, called = threading.Event(), threading.Event(), asyncio.Event()

    def slow(session: Session) -> None:
        after_commit(session, called.set)
        begun.set()
        gate.wait(5)

    task = asyncio.create_task(database.transact(slow))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await called.wait()


async def test_a_full_disk_fails_the_group_and_nothing_of_it_is_stored(database):
    def fill(session: Session) -> None:
        session.execute(text("INSERT INTO t SELECT value + 100 FROM many"))

    await database.transact(lambda s: s.execute(text("CREATE VIEW many AS WITH RECURSIVE n(value) AS "
        "(SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 100000) SELECT value FROM n")))  # fmt: skip
    pages = await database.transact(lambda s: s.execute(text("PRAGMA page_count")).scalar())
    await database.transact(lambda s: s.execute(text(f"PRAGMA max_page_count={pages + 2}")).scalar())
    gate = threading.Event()
    blocker = asyncio.create_task(database.transact(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    work = [asyncio.create_task(database.transact(*unit)) for unit in ((put, 1), (fill,), (put, 2))]
    await asyncio.sleep(0.05)
    gate.set()
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    await blocker
    assert [type(outcome) for outcome in outcomes] == [DiskFull] * 3
    assert await database.read(values) == []
    await database.transact(put, 3)
    assert await database.read(values) == [3]


async def test_a_closed_database_says_so(tmp_path):
    opened = Database.open(tmp_path / "node.db", create=True)
    opened.close()
    with pytest.raises(DatabaseClosed):
        await opened.transact(values)


async def test_it_is_durable_and_readers_cannot_write(database):
    assert await database.transact(lambda s: s.execute(text("PRAGMA journal_mode")).scalar()) == "wal"
    assert await database.transact(lambda s: s.execute(text("PRAGMA synchronous")).scalar()) == 2
    with pytest.raises(Exception, match="readonly"):
        await database.read(put, 1)


async def test_readers_are_not_held_up_by_the_writer(database):
    gate = threading.Event()
    writing = asyncio.create_task(database.transact(lambda s: (put(s, 1), gate.wait(5))))
    await asyncio.sleep(0.05)
    assert await database.read(values) == []
    gate.set()
    await writing
    assert await database.read(values) == [1]


def test_a_second_process_is_told_that_the_database_is_in_use(database):
    with pytest.raises(CannotOpenDatabase, match="in use by another process"):
        Database.open(database.path)
    beside = Database.open(database.path, exclusive=False)
    assert beside.run(values) == []
    beside.close()


def test_a_missing_folder_and_a_missing_file_say_what_to_do(tmp_path):
    with pytest.raises(CannotOpenDatabase, match="imi-node init"):
        Database.open(tmp_path / "none.db")
    with pytest.raises(CannotOpenDatabase, match="does not exist"):
        Database.open(tmp_path / "no" / "none.db", create=True)


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path):
    (tmp_path / "node.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(CannotOpenDatabase, match="damaged or not a database"):
        Database.open(tmp_path / "node.db")


def test_a_newer_format_is_refused_and_named(tmp_path):
    Database.open(tmp_path / "node.db", create=True).close()
    with sqlite3.connect(tmp_path / "node.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SetupError, match="newer version"):
        Database.open(tmp_path / "node.db")


def test_a_full_disk_is_one_sentence(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "node.db").symlink_to("/dev/full")
    with pytest.raises(CannotOpenDatabase):
        Database.open(tmp_path / "node.db")


def test_the_migrations_make_exactly_the_tables_of_the_code(tmp_path):
    for module in pkgutil.iter_modules(local_store.__path__, "node.local_store."):
        importlib.import_module(module.name)
    Database.open(tmp_path / "node.db", create=True).close()
    engine = create_engine(f"sqlite:///{tmp_path / 'node.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_what_waits_in_an_older_database_is_still_sent_after_the_update(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'node.db'}")
    rows = [(1, "received", "a"), (2, "waiting", "a"), (3, "waiting", "a"), (4, "refused", "b"), (5, "parked", "b")]
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number, state, order in rows:
            connection.execute(
                text(
                    "INSERT INTO outbox (id, message_id, recipient, order_key, conversation, action, posted_at, state,"
                    " attempts, unanswered, last_error, content_reference, files, properties, content_type, signed) VALUES"
                    " (:id, :id, 'FR', :order, '', '', '2026-01-01 00:00:00.000000', :state, 0, 0, '', '', '', '', '', '')"
                ),
                {"id": number, "state": state, "order": order},
            )
    engine.dispose()
    opened = Database.open(tmp_path / "node.db")
    due = opened.run(lambda s: [row.id for row in s.execute(text("SELECT id FROM outbox WHERE due_at IS NOT NULL"))])
    opened.close()
    assert due == [2]


def test_head_is_the_newest_migration():
    folder = Path(migrations.__file__).parent / "versions"
    numbers = sorted(re.match(r"(\d{4})_", path.name)[1] for path in folder.glob("[0-9]*.py"))
    assert numbers[-1] == migrations.HEAD


def test_a_naive_instant_is_refused():
    column = UtcDateTime()
    with pytest.raises(ValueError, match="zone"):
        column.process_bind_param(datetime(2026, 1, 1), None)  # noqa: DTZ001  # the fault itself
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert column.process_result_value(column.process_bind_param(at, None), None) == at


async def test_a_lost_transaction_fails_the_whole_group(database):
    def lose(session: Session) -> None:
        session.connection().connection.dbapi_connection.rollback()
        raise ValueError("lost")

    gate = threading.Event()
    blocker = asyncio.create_task(database.transact(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    first = asyncio.create_task(database.transact(put, 1))
    second = asyncio.create_task(database.transact(lose))
    await asyncio.sleep(0.05)
    gate.set()
    outcomes = await asyncio.gather(first, second, blocker, return_exceptions=True)
    assert all(isinstance(outcome, Exception) for outcome in outcomes[:2])
    assert await database.read(values) == []
    assert await database.transact(put, 2) == 2
