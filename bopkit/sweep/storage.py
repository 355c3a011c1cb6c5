"""The Optuna study of a sweep: opened, made, told from another one, with clear errors when it cannot be reached."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.runs.directory import OF_BEFORE

HEARTBEAT_S = 30
GRACE_S = 120
"""A trial whose process has not been heard of for that long is taken up by another process."""

DEFINITION = "definition"
"""Name of the user attribute of a study that holds what its sweep is."""

OPEN_TRIES = 4
"""Two processes that make the tables of a new database at once disturb each other: the loser tries again."""

_PACKAGES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""What to install for a driver whose package has another name than the module, or is complete with an extra only."""


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
            "--storage is not a database URL.", "Write for instance postgresql://user:password@host/database."
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
    for tries_left in reversed(range(OPEN_TRIES)):
        try:
            return optuna.create_study(
                storage=_open_database(url),
                study_name=name,
                sampler=sampler,
                pruner=pruner,
                direction="maximize",
                load_if_exists=True,
            )
        except ImportError as error:
            raise _missing_driver(shown, error) from error
        except sqlalchemy.exc.NoSuchModuleError as error:
            raise UsageError(
                f"The storage {shown} is not a kind of database that SQLAlchemy knows.",
                "Use sqlite:///, postgresql:// or mysql://.",
            ) from error
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if not tries_left:
                raise _unreachable(shown, error) from error
            time.sleep(0.5)
        except RuntimeError as error:  # tables of another Optuna
            raise BopkitError(f"The storage {shown}: {first_line(error)}.", "Name another --storage.") from error
    raise AssertionError("unreachable")


def _open_database(url: str) -> Any:
    """Optuna's storage in a database, in which running trials give a sign of life."""
    import optuna
    import sqlalchemy

    is_sqlite = sqlalchemy.engine.make_url(url).get_backend_name() == "sqlite"
    # A busy SQLite file is waited for; a server may have closed a connection while an epoch was trained.
    engine: dict[str, Any] = {"connect_args": {"timeout": 60}} if is_sqlite else {"pool_pre_ping": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the heartbeat is one
        storage = optuna.storages.RDBStorage(
            url, engine_kwargs=engine, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S
        )
    if is_sqlite:
        _lock_before_reading(storage.engine)
    return storage


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


def refuse_other_sweep(study: Any, definition: Mapping[str, Any], url: str) -> None:
    """Record what a sweep is in its study, or compare it with what is recorded there.

    Args:
        study: The Optuna study.
        definition: What decides the results, as plain JSON values by name.
        url: The database, for the message.

    Raises:
        UsageError: The study is of another sweep; the message names every setting that differs.
    """
    if DEFINITION not in study.user_attrs:
        study.set_user_attr(DEFINITION, definition)
    before = {**OF_BEFORE, **study.user_attrs[DEFINITION]}
    different = [
        f"{name} is {json.dumps(before.get(name))} there and {json.dumps(definition.get(name))} here"
        for name in sorted({*before, *definition})
        if before.get(name) != definition.get(name)
    ]
    if different:
        raise UsageError(
            f"Study {study.study_name} in {shown_url(url)} is another sweep: {'; '.join(different)}.",
            "Repeat its options to go on, or name another --output-dir (with --storage: another --study).",
        )


def _missing_driver(shown: str, error: ImportError) -> BopkitError:
    """The error for a database whose Python driver does not import; Optuna hands on SQLAlchemy's as the cause."""
    cause = error.__cause__ or error
    driver = getattr(cause, "name", None)
    if driver is None:
        return BopkitError(
            f"The driver of the storage {shown} cannot be imported: {first_line(cause)}.",
            "Reinstall the driver, or name another in the URL: postgresql+psycopg2://.",
        )
    return BopkitError(
        f"The storage {shown} needs the Python package {driver}, which cannot be imported.",
        f"Type `pip install {_PACKAGES.get(driver, driver)}`.",
    )


def _unreachable(shown: str, error: Exception) -> BopkitError:
    reason = first_line(error.__cause__ or error)
    return BopkitError(
        f"The storage {shown} cannot be used: {reason}.",
        "Fix it, or name another --storage; the same command resumes.",
    )
