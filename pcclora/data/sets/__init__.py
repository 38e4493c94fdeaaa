"""The data sets by name, one file each, and what several of them are made of: layouts, lists, arrays of clouds."""
