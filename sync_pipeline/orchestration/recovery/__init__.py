"""Recovery: correct records that do not match Dagster, the workers or the target."""
