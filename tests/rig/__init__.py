"""The real things that tests need, each one fixture call: :mod:`tests.rig.fixtures`."""
