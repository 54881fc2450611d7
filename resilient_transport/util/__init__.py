"""What every room may use: origins, URL prefixes, bounded dictionaries."""
