"""What is on record of turns: begun, recorded, ended, retried, undone and paid for."""
