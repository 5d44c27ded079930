"""Scheme `auto`: measures what each weight's forms cost the embedding, and chooses a form for each."""
