"""Who answers: the models, and what stands between them and a run."""
