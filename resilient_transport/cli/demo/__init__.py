"""The demo: a report of resets at start is replayed with stock `requests`, with `Retry(3)`, with the adapter.

`scenarios` is what goes wrong, `start` what a program does at its start, `zygote` the processes it does that
in, `nursery` their parent's end, `lane` one transport with a server of its own, `side_by_side` all of them. A
`cell` is what came of one transport in one scenario; `verdict`, `table` and `progress` are for people, as far
as their `terminal` goes, and `comparison` is for their browser.
"""
