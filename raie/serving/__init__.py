"""Serving: the snapshot that an alias points to, followed while requests are answered."""
