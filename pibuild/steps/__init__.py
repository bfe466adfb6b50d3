"""The six steps of a build: typed functions whose parameters are the ports that they may use."""
