"""What a failure comes from. The order is the table: of several, the first explains the others."""

from __future__ import annotations

from enum import Enum


class Root(str, Enum):
    """A cause that the doctor can tell; its value is what the verdict says of it."""

    #: What is set cannot be used, so that nothing else can be tried.
    SETTING = "a setting cannot be used"
    CLIENT_FILES = "the client certificate and its key cannot be used together"
    #: Something on this machine interferes with connections to itself.
    THIS_HOST = "something on this machine interferes"
    #: The way to the server.
    NAME = "the name is not found"
    PROXY_UNREACHABLE = "the proxy cannot be reached"
    PROXY_REFUSES = "the proxy refuses to connect"
    REFUSED = "the connection is refused: nobody listens at that port"
    UNREACHABLE = "no address of the server answers"
    #: TLS.
    NO_TLS = "the server does not speak TLS at that port"
    NO_COMMON_TLS = "client and server cannot agree on TLS"
    CLIENT_CERTIFICATE_MISSING = "the server demands a client certificate, and none is shown"
    CLIENT_CERTIFICATE_EXPIRED = "the client certificate has expired"
    CLIENT_CERTIFICATE_REFUSED = "the server refuses the client certificate"
    CLOCK = "this machine's clock is wrong"
    SERVER_CERTIFICATE_EXPIRED = "the server's certificate has expired"
    SERVER_CERTIFICATE_NAME = "the server's certificate is for another name"
    INTERCEPTED = "something between here and the server shows a certificate of its own"
    SERVER_CERTIFICATE_UNTRUSTED = "the server's certificate comes from an authority that is not trusted"
    #: What comes and goes.
    HANDSHAKE_RACE = "connections are reset while several shake hands at once"
    HANDSHAKE_RESET = "connections are reset around the TLS handshake"
    HANDSHAKE_SILENT = "the server is silent in the TLS handshake"
    REQUEST_RESET = "connections are reset after the request was sent"
    SILENT = "the server is silent after the request was sent"
    DAMAGED = "what arrives is damaged on its way"
    CUT_BY_SIZE = "response bodies are cut short, and the larger they are, the more often"
    CUT_BODY = "response bodies are cut short"
    GARBLED = "the server's answers contradict themselves or cannot be parsed"
    #: It damages bodies that are resumed, whatever cuts them.
    WRONG_RANGE = "requests for the rest of a body are answered wrongly"
    SOME_ADDRESS = "one of the server's addresses does not answer"
    IDLE_CLOSED = "idle connections are closed, and the client is not told"
    KEEP_ALIVE = "the server does not keep connections as it says"
    #: The server works, and says no.
    STATUS = "the server answers, but with a status that is not a success"
    #: What was found to be bad, and is no cause of failures.
    OTHER = "something is not as it should be"

    __str__ = str.__str__

    @property
    def identifier(self) -> str:
        """What `--json` calls it: "handshake-reset"."""
        return self.name.lower().replace("_", "-")

    @property
    def rank(self) -> int:
        """Its place in the order above, from 0."""
        return _RANKS[self]


_RANKS = {root: rank for rank, root in enumerate(Root)}
