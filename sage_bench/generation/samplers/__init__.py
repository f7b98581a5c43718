"""Who draws completions in evaluation. One file a sampler; `base.Sampler` is the protocol."""
