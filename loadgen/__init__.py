"""Users: how they behave (pure), real ones on Locust, and the log of their connections."""
