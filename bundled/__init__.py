"""The small trained checkpoints and labelled pictures that ship with the project."""
