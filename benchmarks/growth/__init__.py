"""What things cost when the index holds much already."""
