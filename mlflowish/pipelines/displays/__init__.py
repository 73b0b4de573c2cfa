"""Progress of long runs: in a terminal, in a notebook, as plain lines. Observers of a run, and nothing else."""
