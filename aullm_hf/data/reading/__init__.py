"""From tables, folders, images and videos to records: one per clip."""
