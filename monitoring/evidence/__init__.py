"""Evidence that holds at any time that one looks: e-values, and the tests that are built of them.

An e-value is a number that is at most 1 on average while nothing is wrong. Multiplied along the
windows it stays so, and by Ville's inequality it ever reaches 1/alpha with a chance of at most
alpha, however often it is looked at. Source: Ramdas et al., "Game-theoretic statistics and safe
anytime-valid inference", Statistical Science 38 (2023), arXiv:2210.01948.
"""
