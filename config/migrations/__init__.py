"""The one chain of schema migrations, for the tables of all packages."""
