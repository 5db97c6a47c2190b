"""A snapshot with its history in one file, from one registry to another."""
