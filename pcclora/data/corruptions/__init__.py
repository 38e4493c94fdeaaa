"""What goes wrong with scans, in five severities: noise, density, what a sensor sees, shape."""
