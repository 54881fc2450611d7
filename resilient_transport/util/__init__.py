"""What every room may use: origins, URL prefixes, dictionaries, the two locks, forks."""
