"""Databases for the tests of this folder."""

from tests.support.postgres import database_url, postgres, postgres_url

__all__ = ["database_url", "postgres", "postgres_url"]
