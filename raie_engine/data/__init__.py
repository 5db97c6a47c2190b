"""From a log file to interactions, windows and a catalogue."""
