"""What the user has asked for: frozen, as the command line said it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `doctor`."""

    #: The page that is examined.
    url: str
    #: Files of the client certificate and of its key; None: as the session has it.
    cert: str | None = None
    key: str | None = None
    #: A file or folder of trusted certificates; None: as requests has it.
    ca: str | None = None
    #: The proxy's URL; None: as requests finds it; empty: none.
    proxy: str | None = None
    #: "module:factory", what makes the program's session; None: a plain one.
    session: str | None = None
    #: Cold calls at once; 0: no burst.
    burst: int = 0
    #: Pages of several sizes; empty: none.
    sizes: tuple[str, ...] = ()
    #: Seconds for which a connection is held idle before it is used again; 0: not at all.
    hold: float = 0.0
    #: Seconds that each step may take: a name, a connect, a handshake, a silence.
    timeout: float = 5.0
    #: Sections and checks that are wanted (empty: all), and that are not.
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def wants(self, section: str, check: str | None = None) -> bool:
        """Whether a section, or one of its checks, is wanted.

        Args:
            section: its name.
            check: the check's whole name; None: any of the section's.
        """
        if section in self.skip or (check is not None and check in self.skip):
            return False
        if not self.only or section in self.only:
            return True
        if check is not None:
            return check in self.only
        return any(one.startswith(f"{section}.") for one in self.only)
