"""The demo: a report of resets at start is replayed with stock `requests`, with `Retry(3)`, with the adapter.

`scenarios` is what goes wrong, `start` what a program does at its start, `zygote` the processes it does that
in, `lane` one transport with a server of its own, `verdict` and `table` what is made of the result.
"""
