"""One snapshot of a workspace: recommending with it, and what has drifted since."""
