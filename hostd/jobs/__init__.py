"""What happens by the clock, and what takes longer than one unit of the writer may."""
