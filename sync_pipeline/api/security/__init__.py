"""Access control: tokens and sessions, dependencies that check them, and the rate limit."""
