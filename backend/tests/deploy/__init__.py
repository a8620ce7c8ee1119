"""What is shipped: the files that deploy the service, and the service behind a proxy."""
