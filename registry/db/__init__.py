"""The tables, the engine that reaches them, and what a database enforces by itself."""
