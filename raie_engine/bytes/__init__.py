"""Arrays and plain values as bytes that are the same on every machine."""
