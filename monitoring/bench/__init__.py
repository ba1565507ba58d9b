"""The drift bench: what the monitor's evidence finds, how soon, and how often it is wrong.

`driftgate bench drift` runs the code that the monitor runs (`monitoring.scorer`, then
`monitoring.evidence.book`) on streams made of BANKING77, in which something changes at a window
that is known, and other methods beside it.
"""
