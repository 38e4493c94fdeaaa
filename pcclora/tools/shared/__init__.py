"""What the commands share: their parser and options, how they end, and what the three ``train`` commands do."""
