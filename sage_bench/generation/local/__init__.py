"""Our own sampler on torch and transformers: prefill, cache, counter-based random numbers."""
