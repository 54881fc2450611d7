"""`python -m resilient_transport`: see `cli`."""

import sys


def program() -> int:
    """Do what the command line says, and return the exit status.

    `run` leaves signals and descriptors to the program that it starts.
    """
    if sys.argv[1:2] != ["run"]:
        from .cli.descriptors import fill_standard
        from .cli.interrupt import end_quietly

        end_quietly()
        fill_standard()
    from .cli.main import main

    return main()


if __name__ == "__main__":
    raise SystemExit(program())
