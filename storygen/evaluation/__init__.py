"""Figures about models and stories."""
