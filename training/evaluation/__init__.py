"""Evaluation: is the candidate better than the baseline, and is that shown or only seen?

`run.evaluate` asks both the same questions, scores the answers, and lets the gates decide. A gate
says PASS only where the data show it; too few cases are INCONCLUSIVE and say how many are missing.
"""
