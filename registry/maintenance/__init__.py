"""What keeps a registry sound: verify, gc, expiry, backup, restore and takeover."""
