"""Many files done exactly once by any number of workers, whichever are killed; docs/at_scale.md says how."""
