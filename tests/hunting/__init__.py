"""The hunt held against its specification, ``docs/hunting.md``."""
