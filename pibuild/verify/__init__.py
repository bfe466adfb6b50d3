"""What a wheel is, and on which Pis and systems it runs."""
