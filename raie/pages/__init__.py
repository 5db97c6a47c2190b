"""Pages that a person opens in a browser from a file: one file each, which loads nothing else."""
