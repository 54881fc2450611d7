"""Who may connect, and who waits: threads only, no sockets."""
