"""Which registry a database is, and whether its part of the store is its own."""
