"""Logs: how they are read, what they hold, and what a model knows of them."""
