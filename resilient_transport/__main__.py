"""`python -m resilient_transport`: see `cli`."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
