"""The only modules that import docker, subprocess and requests; each translates its library's errors."""
