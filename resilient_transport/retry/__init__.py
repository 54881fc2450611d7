"""May it be sent again, when, and how often: values and arithmetic, no sockets."""
