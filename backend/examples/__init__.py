"""Programs that stand beside the service and show what it can be used with."""
