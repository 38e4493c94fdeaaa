"""Many runs and what they say together: seeds, grids, suites, comparisons and few-shot folds, by one runner."""
