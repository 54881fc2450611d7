"""The command line: `python -m resilient_transport`. A subcommand is a module with a `Command`."""
