"""Opening the index, which is SQLite or PostgreSQL, and the version of its schema."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from hostd.archive import holding, postgresql, sqlite
from hostd.archive.files import copy_index
from hostd.archive.tables import metadata
from hostd.config.place import Place
from hostd.errors import NodeError

SCHEMA = "0030"
"""The revision of the schema that this code reads and writes (migrations/versions)."""

INDEX = "index.db"
"""The file of SQLite's index in the data folder."""

_ALEMBIC_VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where Alembic looks for the revision, as it would make it."""


def open_engine(place: Path | Place, *, writes: bool) -> Engine:
    """Open an index. A writing engine has it for itself from BEGIN to the end of the transaction; a reading one refuses to write.

    What a transaction committed is on stable storage, and a reading one sees one state of the index, from its first query on.
    Raises `NodeError` where PostgreSQL is asked for and its driver is not installed.
    """
    place = Place.of(place)
    if place.database is None:
        return sqlite.open_engine(place.data / INDEX, writes=writes)
    return postgresql.open_engine(place.database, writes=writes)


def bring_up_to_date(engine: Engine) -> None:
    """Create or migrate the schema; an older one of SQLite is copied first. Raises `NodeError` for an index that a newer hostd wrote.

    One node does it, and others that start meanwhile wait, since the engine is a writing one. An empty index gets its tables as they
    are now, not by all migrations that there ever were; Alembic is imported only to migrate, which keeps other starts fast.
    """
    if schema_version(engine) == SCHEMA or _create(engine):
        return
    from alembic import command  # noqa: PLC0415 - see the docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        found = _version(connection)
        if found not in {r.revision for r in ScriptDirectory.from_config(config).walk_revisions()}:
            raise NodeError(
                f"the index has version {found}, this hostd knows up to {SCHEMA}: run the hostd that wrote it, or a newer one"
            )
        assert found is not None, "an empty index has got its tables"
        if engine.dialect.name == "sqlite":
            _keep_a_copy(Path(str(engine.url.database)), found)
        config.attributes["connection"] = connection
        command.upgrade(config, SCHEMA)


def _create(engine: Engine) -> bool:
    """Make the tables of an empty index; return whether it was empty."""
    with engine.begin() as connection:
        if _version(connection) is not None:
            return False
        metadata.create_all(connection, checkfirst=False)
        holding.keep(connection)
        _ALEMBIC_VERSION.create(connection)
        connection.execute(sa.insert(_ALEMBIC_VERSION).values(version_num=SCHEMA))
        return True


def _keep_a_copy(index: Path, version: str) -> None:
    """Copy an index that is about to be migrated: the hostd that wrote it can still go on with the copy."""
    copy = index.with_name(f"{index.name}.before-{version}")
    if not copy.exists():
        copy_index(index, copy)


def schema_version(engine: Engine) -> str | None:
    """Return the revision of the schema that is there, None for an empty database."""
    with engine.connect() as connection:
        return _version(connection)


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.select(_ALEMBIC_VERSION.c.version_num)).scalar()


__all__ = ["INDEX", "SCHEMA", "bring_up_to_date", "metadata", "open_engine", "schema_version"]
