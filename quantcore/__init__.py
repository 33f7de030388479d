"""Turn one float vision model into its 8-bit variants, and measure what each costs."""
