"""`python -m resilient_transport`: see `cli`."""

import sys


def program() -> int:
    """Do what the command line says, and return the exit status.

    `run` leaves signals to the program that it starts.
    """
    if sys.argv[1:2] != ["run"]:
        from .cli.interrupt import end_quietly

        end_quietly()
    from .cli.main import main

    return main()


if __name__ == "__main__":
    raise SystemExit(program())
