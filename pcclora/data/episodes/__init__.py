"""Few-shot episodes: drawn of any data set, read and written in the official form."""
