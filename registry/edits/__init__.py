"""How an edit runs, lands and is undone."""
