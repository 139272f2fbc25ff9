"""The demo page: what it analyses, what a visitor may ask, and how it looks."""
