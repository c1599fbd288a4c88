"""What each framework default costs, one difference at a time."""
