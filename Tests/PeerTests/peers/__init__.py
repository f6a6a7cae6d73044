"""Real servers that the tests start on free loopback ports and stop by pid."""
