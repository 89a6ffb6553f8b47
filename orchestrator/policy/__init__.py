"""What a vCPU should get without asking: by traffic, time, workload, branches, load.

Theory of operation: a policy is a frozen value, its parameters, and one pure function,
`decide(view, memory)`. What it must see is read by `sampling`, which knows no policy.
The `engine` owns what is installed, asks for samples when they are due, lets decide,
and votes where a decision changed. Nothing here writes a clock: a policy's vote is one
among others, and the operator's bounds stand above all of them.

Whoever does not know does not vote: a policy whose samples are missing withdraws its
votes, so that its vCPUs go up rather than down.
"""
