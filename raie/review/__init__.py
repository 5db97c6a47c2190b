"""What a reviewer reads before approving a snapshot, as one page and as markdown."""
