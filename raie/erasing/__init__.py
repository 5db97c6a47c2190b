"""A user is erased: what its rows reached is found, made again without them, and proven to be gone."""
