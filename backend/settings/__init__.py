"""The parts of the settings, each with its own rules; `backend.config` reads them."""
