"""What raie stands on and what is in force: settings, the names there are, and whether all is well."""
