"""The command line: joins the engine and the registry, and turns their values into text or JSON."""
