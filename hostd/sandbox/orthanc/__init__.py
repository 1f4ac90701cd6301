"""Orthanc's spelling of scripts: its callbacks and functions of Lua, as a thin layer over what hostd's own scripts see.

They make the same plan. Where Lua's way lost data the safe one stands; what needs an answer from outside has none here, and
`hostd check` says what to use instead.
"""
