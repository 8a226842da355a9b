"""What every room speaks: errors, parameters, numbers; no program, no file format."""
