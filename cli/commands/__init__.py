"""One file per word that the user types."""
