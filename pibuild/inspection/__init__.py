"""What a wheel from anywhere says it is, what it is, and on which Pis it will run."""
