"""The sections of a run's report: the blocks of one, from what a part of the run left."""
