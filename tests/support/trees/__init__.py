"""Fake data-set trees: folders, frames and spreadsheets in the published forms, with what is true of them."""
