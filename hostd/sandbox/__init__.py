"""The sandbox: the worker in which a user's script runs, and the frames it speaks with the host.

Nothing here imports anything of hostd outside this folder, so that the worker starts fast and holds nothing worth stealing.
"""
