"""The executors that a person may choose, and how one begins and ends."""
