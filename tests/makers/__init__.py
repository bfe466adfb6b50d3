"""Inputs of tests, made in code: values, files, wheels, stores, sites."""
