"""The three time-outs of the tests, in seconds. No test invents a fourth.

SHORT_TIMEOUT is meant to expire: the test waits for it in full, and nothing may come before.
LONG_TIMEOUT is meant never to expire: what it bounds takes milliseconds, and to see it end is the failure.
HANG_TIMEOUT is nobody's argument: after it pytest gives up on a test, prints all stacks and ends the run.
"""

SHORT_TIMEOUT = 0.2
LONG_TIMEOUT = 10.0
#: The `faulthandler_timeout` of setup.cfg; a test compares the two.
HANG_TIMEOUT = 120.0
