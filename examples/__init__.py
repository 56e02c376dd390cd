"""Programs on the public faces of `stages` and `cache`, to be read and run from a checkout."""
