"""`vmpower doctor`: what keeps it from working, and the cure.

Theory of operation: `facts/` look (files below a root, libvirt, the daemon) and judge
nothing; `checks/` judge and look at nothing: each check is a function of facts, made
one by `@check`, with its name, and found by being in a module there. What could not be
looked at is a `Missing` in the place of the fact, with the reason; checks that need it
are reported as not made. So a new check is one function and its test.
"""
