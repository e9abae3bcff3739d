"""The one door to the node's database.

A unit of work is a plain function of a Session. `transact` hands it to the single writer thread, which runs all units
that wait at that moment in one transaction, each in a savepoint of its own, and commits once for all: a unit that
raises undoes only itself, and nobody hears of success before the group is on disk. `read` runs on a small pool of
read-only connections beside the writer (SQLite WAL).

A caller that is cancelled waits for the end of its unit first: cancelled means unknown, never half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, QueuePool

from node.errors import SetupError, Unavailable
from node.local_store import migrations

P = ParamSpec("P")
T = TypeVar("T")

GROUP: Final = 64  # units in one commit at most
READERS: Final = 3
_AFTER_COMMIT: Final = "after_commit"

log = structlog.get_logger()


class CannotOpenDatabase(SetupError):
    """The database file cannot be used; the message says why and what to do."""

    code = "setup.database"


class DiskFull(Unavailable):
    """A transaction could not be stored; nothing of it was."""

    code = "unavailable.disk-full"


class DatabaseBusy(Unavailable):
    """Another process writes to the database for longer than we wait; nothing was stored."""

    code = "unavailable.database-busy"


class DatabaseClosed(Unavailable):
    """The node is stopping: nothing new is stored."""

    code = "unavailable.database-closed"


def after_commit(session: Session, callback: Callable[[], object]) -> None:
    """Have `callback` called once this unit is durable: on the event loop that called `transact`."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


class _Unit:
    """A function waiting for the writer, and its outcome. `loop`: where its callbacks run; None: on the caller's thread."""

    __slots__ = ("callbacks", "failure", "function", "future", "loop", "result")

    def __init__(self, function: Callable[[Session], Any], loop: asyncio.AbstractEventLoop | None) -> None:
        self.function = function
        self.loop = loop
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.failure: BaseException | None = None
        self.callbacks: list[Callable[[], object]] = []


class Database:
    """A node's SQLite database: WAL, synchronous=FULL, one process."""

    def __init__(self, path: Path, engine: Engine, readers: Engine, lock: int) -> None:
        self.path = path
        self.session_info: dict[str, Any] = {}  # what every unit of work finds in `session.info`
        self._lock = lock
        self._engine = engine
        self._reader_engine = readers
        self._reading: dict[int, Connection] = {}  # each reader thread keeps its connection
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._closing = threading.Lock()  # held while a unit is put in the queue: none may come after the end mark
        self._is_closed = False
        self._writer = threading.Thread(target=self._write, name="writer", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: Path, *, create: bool = False, exclusive: bool = True) -> Database:
        """The database in `path`, brought to this version's tables.

        Args:
            create: make the file if it is missing.
            exclusive: hold the lock that keeps a second node process out; commands that only read beside a running
                node pass False.

        Raises:
            CannotOpenDatabase: missing, locked by another process, not a database, of a newer version, disk full.
        """
        if not create and not path.exists():
            raise CannotOpenDatabase(f"there is no database {path}; `imi-node init` makes one")
        if not path.parent.is_dir():
            raise CannotOpenDatabase(
                f"the folder {path.parent} does not exist; make it, or correct `data` in the settings"
            )
        lock = _take_lock(path) if exclusive else -1
        try:
            engine = _engine(path, begin="BEGIN IMMEDIATE", query_only=False)
            if exclusive:
                migrations.upgrade(engine, path)
            else:
                migrations.check(engine, path)
        except (DatabaseError, sqlite3.Error, OSError) as error:
            _release(lock)
            raise CannotOpenDatabase(_why(path, error)) from error
        except BaseException:
            _release(lock)
            raise
        return cls(path, engine, _engine(path, begin="BEGIN", query_only=True), lock)

    async def transact(self, function: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of work; its result once it is durable.

        Raises whatever the function raised, after undoing it; Unavailable (DiskFull, DatabaseBusy, DatabaseClosed) if
        nothing could be stored.
        """
        unit = self._submit(lambda session: function(session, *args, **kwargs), asyncio.get_running_loop())
        result: T = await _end_of(asyncio.wrap_future(unit.future))
        return result

    async def read(self, function: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a read-only unit beside the writer; it sees what was committed when it began."""
        future = self._readers.submit(self._read, lambda session: function(session, *args, **kwargs))
        result: T = await _end_of(asyncio.wrap_future(future))
        return result

    def run(self, function: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `transact`, for callers without an event loop; callbacks run on the calling thread."""
        unit = self._submit(lambda session: function(session, *args, **kwargs), None)
        result: T = unit.future.result()
        for callback in unit.callbacks:
            callback()
        return result

    def close(self) -> None:
        """Finish what waits, then close all connections. What is asked later raises DatabaseClosed."""
        with self._closing:
            self._is_closed = True
            self._queue.put(None)
        self._writer.join()
        self._readers.shutdown(wait=True)
        for connection in self._reading.values():
            connection.close()
        self._engine.dispose()
        self._reader_engine.dispose()
        _release(self._lock)

    def _submit(self, function: Callable[[Session], Any], loop: asyncio.AbstractEventLoop | None) -> _Unit:
        unit = _Unit(function, loop)
        with self._closing:
            if self._is_closed:
                raise DatabaseClosed("the node is stopping")
            self._queue.put(unit)
        return unit

    def _read(self, function: Callable[[Session], Any]) -> Any:
        thread = threading.get_ident()
        connection = self._reading.pop(thread, None) or self._reader_engine.connect()
        try:
            with Session(bind=connection) as session:
                result = function(session)
        except BaseException:
            connection.close()  # whatever happened to it, the next unit gets a new one
            raise
        self._reading[thread] = connection
        return result

    def _write(self) -> None:
        """The writer thread: one group after the other until the end mark."""
        with self._engine.connect() as connection:
            while (first := self._queue.get()) is not None:
                group, ended = self._gather(first)
                self._commit(connection, group)
                if ended:
                    return

    def _gather(self, first: _Unit) -> tuple[list[_Unit], bool]:
        group = [first]
        while len(group) < GROUP:
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                return group, False
            if unit is None:
                return group, True
            group.append(unit)
        return group, False

    def _commit(self, connection: Connection, group: list[_Unit]) -> None:
        try:
            with connection.begin():
                for unit in group:
                    _attempt(connection, unit, self.session_info)
        except Exception as error:  # noqa: BLE001  # whatever it was, each caller is told, and the writer lives on
            failure = _as_unavailable(error)
            log.critical("commit failed", units=len(group), reason=type(error).__name__)
            for unit in group:
                unit.failure = failure if unit.failure in (None, error) else unit.failure
        for unit in group:
            _tell(unit)


def _attempt(connection: Connection, unit: _Unit, info: dict[str, Any]) -> None:
    """Run one unit in its savepoint; an exception undoes it and waits in `failure`.

    Raises what ended the whole transaction: SQLite rolls back by itself when the disk is full or fails, and what ran
    after that would be committed piece by piece.
    """
    try:
        with Session(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            session.info.update(info)
            unit.result = unit.function(session)
            session.commit()
            unit.callbacks = session.info.get(_AFTER_COMMIT, [])
    except Exception as error:  # the caller's exception is the caller's: handed over with its future
        unit.failure = error
        if _is_full(error) or not _driver(connection).in_transaction:
            raise


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _tell(unit: _Unit) -> None:
    """Hand over the outcome. Callbacks go first: they run even if the caller was cancelled meanwhile."""
    if unit.failure is not None:
        unit.callbacks = []
        unit.future.set_exception(unit.failure)
        return
    if unit.loop is not None and unit.callbacks:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear
            unit.loop.call_soon_threadsafe(_call_all, unit.callbacks)
    unit.future.set_result(unit.result)


def _call_all(callbacks: list[Callable[[], object]]) -> None:
    for callback in callbacks:
        callback()


async def _end_of(future: asyncio.Future[Any]) -> Any:
    """The future's result; a caller that is cancelled meanwhile waits for the end first."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not future.done():
            await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # seen, so that it is not reported as forgotten
        raise


def _engine(path: Path, *, begin: str, query_only: bool) -> Engine:
    pool = {"poolclass": QueuePool, "pool_size": READERS} if query_only else {"poolclass": NullPool}
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": 30.0}, **pool)

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # our own BEGIN: the driver's would come too late for savepoints
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if query_only:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _take_lock(path: Path) -> int:
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise CannotOpenDatabase(
            f"{path} is in use by another process of this node: stop it first, or wait until it has ended"
        ) from None
    return handle


def _release(lock: int) -> None:
    if lock >= 0:
        os.close(lock)


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and "disk is full" in str(error)


def _as_unavailable(error: Exception) -> Exception:
    if _is_full(error):
        return DiskFull("the disk is full")
    if isinstance(error, OperationalError) and "database is locked" in str(error):
        return DatabaseBusy("another process holds the database")
    return error


def _why(path: Path, error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error)
    if "disk is full" in text or getattr(error, "errno", None) == errno.ENOSPC:
        return f"the disk of {path} is full: free some space and start again"
    if "not a database" in text or "malformed" in text:
        return f"{path} is damaged or not a database: restore it from a backup"
    if "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written: correct the owner and rights of the file and its folder"
    return f"{path} cannot be opened: {text}"
