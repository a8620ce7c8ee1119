"""What happens here, told to those who run the service: spans and figures, where they are on."""
