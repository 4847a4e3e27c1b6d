"""How a model learns: settings, optimizer and schedule, checkpoints to resume from, and the loop."""
