"""What a workspace is configured by: who chose a value, whose file chose it, and what may be shown of a URL."""
