"""What happens by the clock: quiet times."""
