"""The commands, one file each: parse, build, call. ``command.py`` finds them by name."""
