"""A trained model made better: on stories of one's own, and on what people preferred."""
