"""What a run shows: tables, pictures and files; label-free parts included."""
