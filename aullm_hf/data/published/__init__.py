"""The published data sets: how each one's table and folders are read. One file per data set."""
