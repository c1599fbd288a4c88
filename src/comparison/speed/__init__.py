"""What things cost in time, measured in turns."""
