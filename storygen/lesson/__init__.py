"""What happens between a prompt and a story, computed with the loaded models, for people who want to see it."""
