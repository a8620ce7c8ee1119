"""What the tests are helped by: servers, databases, people and pages."""
