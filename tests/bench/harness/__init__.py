"""What the measurements share. Standard library only; for Linux, whose /proc it reads."""
