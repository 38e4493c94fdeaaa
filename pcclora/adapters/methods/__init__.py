"""The methods, a file each: its formula, its paper, what is the paper's and what is ours."""
