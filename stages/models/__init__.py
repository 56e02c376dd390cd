"""What can be run: a registry of models and one module per architecture family."""
