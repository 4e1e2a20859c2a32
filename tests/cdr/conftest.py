"""Databases for the tests of this folder."""

from tests.support.postgres import (
    blank_database_url,
    blank_postgres_url,
    database_url,
    postgres,
    postgres_url,
)

__all__ = ["blank_database_url", "blank_postgres_url", "database_url", "postgres", "postgres_url"]
