"""The page: one module per tab, and the theme."""
