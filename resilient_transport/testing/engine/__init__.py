"""The server itself, as it runs in its own process: nothing here is imported by a test.

From the outside in: `launch` starts `control`, which obeys the parent and owns a `site`; the site accepts and
gives each connection a thread running `connection`, which speaks through a `channel` (TLS or plain) over a
`peer` (the socket). `messages`, `pages` and `ranges` are HTTP, `tunnel` is CONNECT, `hand` is what the script
dealt one connection, `ledger` counts. It needs POSIX (poll) and the standard library, and imports nothing
else, so that a server starts fast.
"""
