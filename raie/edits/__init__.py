"""Edits of a workspace: planned, trained, committed, resumed and looked at."""
