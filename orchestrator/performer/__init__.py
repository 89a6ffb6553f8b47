"""Carries out the controller's actions, in threads that may hang."""
