"""What goes over a provider's wire: made fit for it, and mended before the SDK reads it."""
