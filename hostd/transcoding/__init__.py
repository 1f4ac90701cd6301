"""The transcoding room: one image in another transfer syntax, with a receipt that says how it was proven the same.

`pool` is the door; it starts codec workers and holds no codec itself. Everything that touches pixels runs in `worker`.
"""
