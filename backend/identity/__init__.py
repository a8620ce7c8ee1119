"""What says who is calling: the forms of Better Auth's tokens, and where each is looked up."""
