"""For people who write scripts: instances, events, a clock and a peer for their own tests; and what hostd's own tests share.

With hostd and pytest installed, a test takes the fixture `hostd`, a `Bench`. See docs/testing.md.
"""
