"""Many files done exactly once by any number of workers, whichever are killed; docs/predicting.md says how."""
