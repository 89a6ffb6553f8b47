"""Reading what policies need to see; it knows no policy, and decides nothing.

Every read can block (libvirt for half a minute) and belongs into a thread.
"""
