"""What an adapter is on disk: its tensors, its folder, and the forms that Hugging Face peft reads and writes."""
