"""Runs calls and keeps sessions. Needs no IPython; a script uses it through `bridge_ext.Bridge`."""
