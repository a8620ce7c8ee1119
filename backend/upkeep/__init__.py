"""What is done now and then, besides what anybody asks for: erasures taken up, old rows removed."""
