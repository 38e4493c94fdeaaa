"""Methods side by side on the same few-shot episodes: one of ``configs/fewshot``."""
