"""One door for sampled text: requests in, completions out, whoever draws them."""
