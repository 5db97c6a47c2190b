"""Log files of every kind, read into raw columns."""
