"""What `driftgate doctor` looks at: the machine, what is installed, and this installation."""
