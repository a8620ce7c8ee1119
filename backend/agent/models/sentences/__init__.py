"""Plain sentences understood by rule: what the offline model has where others have learnt."""
