"""Programs of the project: reference writer, link check, fuzzing."""
