"""The bodies of requests and answers, and the types of their fields."""
