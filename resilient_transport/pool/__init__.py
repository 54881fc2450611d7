"""Who gets which connection: one process-wide registry of pools, keyed by who you are."""
