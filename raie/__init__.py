"""The Python API of raie: a workspace joins the engine, which trains, and the registry, which keeps."""
