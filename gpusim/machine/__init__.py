"""The laws of one GPU that both engines obey: step time from pipes, L2 reuse, resident CTAs.

Here is how long one thing takes alone, or how much of a tensor stays in L2; what happens when many
CTAs compete is for `sim` (event by event) and `analytic` (in closed form) to say.
"""
