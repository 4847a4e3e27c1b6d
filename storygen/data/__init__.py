"""From text to packed token shards: sources, cleaning, prompt forms, packing, and batches for training."""
