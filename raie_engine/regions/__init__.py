"""Preference regions: how they are fitted, which windows they take, when they move and when new ones begin."""
