"""From a `ModelSpec` to a module: what each model is (torch-free) and how it is built (in workers)."""
