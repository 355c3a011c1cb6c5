"""The Optuna study of a sweep: where it is kept, and clear errors when it cannot be reached."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, UsageError, first_line

HEARTBEAT_S = 30
GRACE_S = 120
"""A trial whose process has not been heard of for that long is taken up by another process."""

OPEN_TRIES = 4
"""Two processes that make the tables of a new database at once disturb each other: the loser tries again."""

_PACKAGES = {
    "psycopg2": "psycopg2-binary",
    "psycopg": "'psycopg[binary]'",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "mariadb": "mariadb",
    "oracledb": "oracledb",
    "pyodbc": "pyodbc",
    "asyncpg": "asyncpg",
}
"""What to install for a database driver that does not import."""


def default_storage(output_dir: Path) -> str:
    """URL of the SQLite file in the sweep's own folder."""
    return f"sqlite:///{(output_dir / 'sweep.db').absolute()}"


def shown_url(url: str) -> str:
    """The URL without its password."""
    import sqlalchemy

    try:
        return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError as error:
        raise UsageError(
            "--storage is no database URL.", "Write for instance postgresql://user:password@host/database."
        ) from error


def open_study(url: str, name: str, sampler: Any, pruner: Any) -> Any:
    """Open a study of a database, or make it.

    Args:
        url: `sqlite:///FILE`, or the URL of a database server.
        name: Name of the study.
        sampler: An Optuna sampler.
        pruner: An Optuna pruner.

    Returns:
        The `optuna.Study`; it maximises.

    Raises:
        UsageError: The URL cannot be read, or names no database that SQLAlchemy knows.
        BopkitError: The driver is not installed, or the database cannot be reached.
    """
    import optuna
    import sqlalchemy

    shown = shown_url(url)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep tells of its trials itself
    is_sqlite = sqlalchemy.engine.make_url(url).get_backend_name() == "sqlite"
    # A busy SQLite file is waited for; a server may have closed a connection while an epoch was trained.
    engine: dict[str, Any] = {"connect_args": {"timeout": 60}} if is_sqlite else {"pool_pre_ping": True}
    for tries_left in reversed(range(OPEN_TRIES)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the heartbeat is one
                storage = optuna.storages.RDBStorage(
                    url, engine_kwargs=engine, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S
                )
                if is_sqlite:
                    _lock_before_reading(storage.engine)
                return optuna.create_study(
                    storage=storage,
                    study_name=name,
                    sampler=sampler,
                    pruner=pruner,
                    direction="maximize",
                    load_if_exists=True,
                )
        except ImportError as error:
            driver = getattr(error.__cause__ or error, "name", None) or "its driver"
            raise BopkitError(
                f"The storage {shown} needs the Python package {driver}, which does not import.",
                f"Type `pip install {_PACKAGES.get(driver, driver)}`.",
            ) from error
        except sqlalchemy.exc.NoSuchModuleError as error:
            raise UsageError(
                f"The storage {shown} is of no database that SQLAlchemy knows.",
                "Use sqlite:///, postgresql:// or mysql://.",
            ) from error
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if not tries_left:
                raise _unreachable(shown, error) from error
            time.sleep(0.5)
        except RuntimeError as error:  # tables of another Optuna
            raise BopkitError(f"The storage {shown}: {first_line(error)}.", "Name another --storage.") from error
    raise AssertionError("unreachable")


def _lock_before_reading(engine: Any) -> None:
    """Let each transaction of an SQLite file take the lock at its begin.

    Optuna reads whether a trial waits, and then takes it. SQLite has no SELECT FOR UPDATE, and Python's driver begins a
    transaction at the first write only: two processes could take the same trial.
    """
    import sqlalchemy

    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", leave_transactions_to_us)
    sqlalchemy.event.listen(engine, "begin", begin)
    engine.dispose()  # connections from before


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Give a database that breaks off during the sweep its clear line.

    Raises:
        BopkitError: It did.
    """
    import optuna
    import sqlalchemy

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise _unreachable(shown_url(url), error) from error


def _unreachable(shown: str, error: Exception) -> BopkitError:
    reason = first_line(error.__cause__ or error)
    return BopkitError(
        f"The storage {shown} cannot be used: {reason}.",
        "Mend it, or name another --storage; the same command goes on.",
    )
