"""What both training loops share: schedule, history, checkpoints."""
