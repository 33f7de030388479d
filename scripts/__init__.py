"""What the Makefile runs beside the product: set-up, serving, screenshots, generated documents."""
