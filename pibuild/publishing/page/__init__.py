"""The page that people open: static files made of a set and its nights. It works without JavaScript."""
