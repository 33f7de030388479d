"""`make bench`: every figure the project promises, beside the peer or limit it is held against."""
