"""Recovery: corrects records that differ from Dagster, the workers or the target."""
